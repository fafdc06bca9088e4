"""What is shown of an image on demand: its scores, and the images like it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.embeddings.vectors import Embeddings
from fmsel.metrics.scores import Scores
from fmsel.metrics.scores.ranking import percentile
from fmsel.selection.geometry.vectors import blocks

NEAREST = 8  # images shown
SMALLER = 8  # by which blocks are smaller than elsewhere, as several may be at work


class Details:
    """Neighbours by an embedding and percentiles of scores, where there are any.

    Attributes:
        embeddings, scores: of all images; None = there are none.
    """

    def __init__(self, embeddings: Embeddings | None, scores: Scores | None) -> None:
        self.embeddings, self.scores = embeddings, scores
        arrays = scores.arrays.items() if scores is not None else ()
        self._percentiles = {name: percentile(array) for name, array in arrays}

    def of(self, index: int, label: Callable[[int], str | None]) -> dict[str, Any]:
        """Scores as percentiles among all images (100 = typical), and the `NEAREST` others.

        Args:
            index: in the data set.
            label: what people say of an image; None = nothing.
        """
        near = [] if self.embeddings is None else self._nearest(index)
        return {
            "scores": [
                {"name": name, "percentile": round(100 * float(values[index]), 1)}
                for name, values in self._percentiles.items()
            ],
            "neighbours": [
                {"index": each, "distance": round(apart, 4), "label": label(each)}
                for each, apart in near
            ],
        }

    def _nearest(self, index: int) -> list[tuple[int, float]]:
        """Other images and their Euclidean distances, the nearest first."""
        assert self.embeddings is not None
        features = self.embeddings.features
        own = features[np.array([index])][0]
        apart = np.empty(len(features), dtype=np.float32)
        for rows in blocks(len(features), SMALLER * features.shape[1]):
            apart[rows] = np.linalg.norm(features[rows] - own, axis=1)
        apart[index] = np.inf
        return [(int(each), float(apart[each])) for each in _smallest(apart, NEAREST)]


def _smallest(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.intp]:
    """Places of the smallest values but the infinite one, in order; of equals, the lower place."""
    count = min(count, len(values) - 1)
    bound = np.partition(values, count - 1)[count - 1] if count else -1
    found = np.flatnonzero(values <= bound)
    return found[np.argsort(values[found], kind="stable")][:count]
