"""`badge`: images whose loss gradients at the last layer are large and unlike each other."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fmsel.seeds import generator
from fmsel.selection.pool import Eligible, Evidence, IntArray, LabelUse, Pool, Strategy

ROUNDING = 1e-6  # of squared distances, as a share of the squared lengths


@dataclass(frozen=True)
class Badge(Strategy):
    """BADGE (Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds",
    ICLR 2020, algorithm 1).

    Of an image with features h (of any length) and probabilities p, the gradient is that of the
    cross-entropy of the most probable class by the weights of the last layer. The longest one comes
    first, as in the authors' code; then images are drawn with a chance proportional to the squared
    distance to the nearest gradient drawn before, as k-means++ does. Where none differs any more,
    all have the same chance. As in the paper, images held already play no part: a network that has
    learned them has gradients near 0 there.
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features", "probabilities")

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        assert pool.probabilities is not None  # checked by `query`
        images = pool.available
        gradients = Gradients(pool.probabilities[images], pool.vectors(images))
        rng, eligible = generator(seed, "badge"), Eligible(pool)
        row = int(np.argmax(gradients.squared_lengths))
        nearest = gradients.squared_distances(row)
        picks = np.empty(batch_size, dtype=np.int64)
        for count in range(batch_size):
            if count:
                row = draw(nearest, eligible.mask[images], rng)
            picks[count] = images[row]
            eligible.take(int(images[row]))
            np.minimum(nearest, gradients.squared_distances(row), out=nearest)
        return picks


class Gradients:
    """(p - e) (outer) h of each image, of which neither products nor distances need the outer one.

    Args:
        probabilities: (M, C); e is 1 at the greatest, of equals the first, and 0 elsewhere.
        features: (M, D) float32.
    Attributes:
        squared_lengths: (M,) float64.
    """

    def __init__(
        self, probabilities: npt.NDArray[np.floating], features: npt.NDArray[np.float32]
    ) -> None:
        self._errors = probabilities.astype(np.float32)
        self._errors[np.arange(len(features)), probabilities.argmax(axis=1)] -= 1
        self._features = features
        self.squared_lengths = _squares(self._errors) * _squares(features)

    def squared_distances(self, row: int) -> npt.NDArray[np.float64]:
        """(M,) at least 0, of each to the one of `row`; those that rounding may make are 0."""
        products = self._errors @ self._errors[row]
        products *= self._features @ self._features[row]
        lengths = self.squared_lengths + self.squared_lengths[row]
        apart = lengths - 2.0 * products
        return np.asarray(np.where(apart > ROUNDING * lengths, apart, 0))


def _squares(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.asarray(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))


def draw(
    weights: npt.NDArray[np.float64], among: npt.NDArray[np.bool_], rng: np.random.Generator
) -> int:
    """A row where `among` is true, at a chance proportional to its weight; equal if all are 0."""
    chances = np.where(among, weights, 0)
    if not chances.any():
        chances = among.astype(np.float64)
    rows = np.flatnonzero(chances)
    upto = np.cumsum(chances[rows])
    return int(rows[np.searchsorted(upto[:-1], rng.random() * upto[-1], side="right")])
