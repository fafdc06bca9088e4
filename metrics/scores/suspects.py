"""Likely label errors, each with the label that networks propose instead.

Confident learning (Northcutt, Jiang and Chuang 2021, arXiv 1911.00068, section 3.1): an image is a
suspect where networks that held it out give another class a probability that is at least the mean
one of the images that carry that class's label. Suspects are ordered by the normalised margin.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOLERANCE = 1e-6  # of a probability, so that one that equals a threshold reaches it


@dataclass(frozen=True, kw_only=True, eq=False)
class Suspects:
    """S likely label errors, the likeliest first.

    Attributes:
        indices: (S,) int64, global to the data set.
        proposed: (S,) int64, the class that the networks propose.
        probability: (S,) what they give it.
        score: (S,) in [0, 1/2), label quality: half of 1 + the probability of the given label
            minus the highest of the others.
    """

    indices: npt.NDArray[np.int64]
    proposed: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]


def find_suspects(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]
) -> Suspects:
    """Find likely label errors.

    Args:
        probabilities: (N, C), by networks that held the image out.
        labels: (N,) in [0, C); a class without images is never proposed.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    confident = np.where(given >= _thresholds(given, labels) - TOLERANCE, given, -np.inf)
    proposed = confident.argmax(axis=1)  # meaningless where no class is confident
    score = label_quality(given, labels)
    # A given label that is also the likeliest is no suspect, whatever the thresholds say.
    doubted = np.isfinite(confident.max(axis=1)) & (proposed != labels) & (score < 0.5 - TOLERANCE)
    indices = np.flatnonzero(doubted)
    indices = indices[np.argsort(score[indices], kind="stable")]
    return Suspects(
        indices=indices,
        proposed=proposed[indices],
        probability=given[indices, proposed[indices]],
        score=score[indices],
    )


def label_quality(
    probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(N,) in [0, 1]: (1 + probability of the given label - the highest of the others) / 2."""
    rows = np.arange(len(labels))
    others = probabilities.copy()
    others[rows, labels] = -np.inf
    return np.asarray((1 + probabilities[rows, labels] - others.max(axis=1)) / 2)


def _thresholds(
    probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(C,) mean probability of each class over the images that carry its label."""
    own = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    sums = np.bincount(labels, weights=own, minlength=probabilities.shape[1])
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
