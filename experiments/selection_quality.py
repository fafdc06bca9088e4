"""How good a choice of images is before anything deep is trained: cover, likeness, linear probe."""

from math import comb

import numpy as np
import numpy.typing as npt

from fmsel.selection.geometry.vectors import blocks, squared_distances

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

PENALTY = 1.0  # scikit-learn's C of the probe, on features of variance 1; the same for all choices
ITERATIONS = 1_000  # of the probe; it converges well before


def chance_of_all_classes(budget: int, classes: int) -> float:
    """That `budget` independent draws, uniform over `classes`, miss none (inclusion-exclusion)."""
    terms = ((-1) ** k * comb(classes, k) * (classes - k) ** budget for k in range(classes + 1))
    return float(sum(terms) / classes**budget)


def covered_mass(points: FloatArray, chosen: FloatArray, radius: float) -> float:
    """Share of (N, D) points nearer than `radius` to one of (S, D) chosen ones (ProbCover)."""
    inside = 0
    for part in blocks(len(points), len(chosen)):
        nearest = squared_distances(points[part], chosen).min(axis=1)
        inside += int((nearest < radius**2).sum())
    return inside / len(points)


class Likeness:
    """The squared maximum mean discrepancy between a choice and the images it stands for.

    Gretton et al. 2012, "A kernel two-sample test", equation 5 (biased), with the kernel
    exp(-distance^2 / (2 sigma^2)); 0 = alike.

    Args:
        points: (N, D) that a choice should stand for.
        sigma: above 0.
    """

    def __init__(self, points: FloatArray, sigma: float) -> None:
        self._points, self._sigma = points, sigma
        self._among = self._mean(points, points)

    def squared_mmd(self, chosen: FloatArray) -> float:
        """Of (S, D) chosen points, at least 0."""
        cross = self._mean(self._points, chosen)
        return max(self._among + self._mean(chosen, chosen) - 2 * cross, 0.0)

    def _mean(self, a: FloatArray, b: FloatArray) -> float:
        total = 0.0
        for part in blocks(len(a), len(b)):
            exponent = squared_distances(a[part], b)
            exponent *= -1 / (2 * self._sigma**2)
            total += float(np.exp(exponent, out=exponent).sum(dtype=np.float64))
        return total / (len(a) * len(b))


def fit_probe(
    features: FloatArray, labels: IntArray, others: FloatArray, n_classes: int
) -> FloatArray:
    """Class probabilities of other images by logistic regression (scikit-learn's, C = 1).

    Args:
        features: (S, D) of the labelled images, every feature of about variance 1 over all images.
        labels: (S,) in [0, C).
        others: (T, D) to predict.
        n_classes: C.
    Returns:
        (T, C) float32; zero for classes without a label.
    """
    from sklearn.linear_model import LogisticRegression

    out = np.zeros((len(others), n_classes), dtype=np.float32)
    known = np.unique(labels)
    if len(known) == 1:
        out[:, known[0]] = 1
        return out
    probe = LogisticRegression(C=PENALTY, max_iter=ITERATIONS).fit(features, labels)
    out[:, probe.classes_] = probe.predict_proba(others)
    return out
