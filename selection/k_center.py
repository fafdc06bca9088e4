"""`k_center`: the image farthest from all labelled ones, again and again."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fmsel.selection.coverage.kernels import ROUNDING, FloatArray, snap
from fmsel.selection.geometry.points import population_directions
from fmsel.selection.geometry.vectors import blocks
from fmsel.selection.pool import Eligible, Evidence, IntArray, LabelUse, Pool, Strategy

FRONT = 1_000  # images looked at between two passes over all, at least
SHARE = 1 / 16  # of the images that are looked at between two passes over all, at least


@dataclass(frozen=True)
class KCenter(Strategy):
    """Greedy k-center (Gonzalez 1985), called coreset in active learning (Sener and Savarese,
    "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018).

    With the features of a run, between rounds, it is their method. The largest distance of an image
    to its nearest labelled one is at most twice the least possible. Distances are between features
    of length 1; where no image is held, the one nearest the mean comes first.
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        choice = _Choice(pool)
        while len(choice.picks) < batch_size:
            choice.grow(batch_size)
        return np.array(choice.picks)


class _Choice:
    """A choice in the making; rows count within the population.

    Attributes:
        picks: global indices of the images chosen so far, in order.
    """

    def __init__(self, pool: Pool) -> None:
        self.picks: list[int] = []
        self._images = pool.population
        self._points = population_directions(pool)[:]  # in memory for every pick
        self._eligible = Eligible(pool)
        self._closest = np.full(len(self._points), -1, dtype=np.float32)
        self._new = np.searchsorted(self._images, pool.held).tolist()  # not in `_closest` yet
        if not self._new:
            toward_mean = self._points @ self._points.mean(axis=0)
            toward_mean[~self._eligible.mask[self._images]] = -np.inf
            self._take(int(np.argmax(toward_mean >= toward_mean.max() - ROUNDING)))

    def grow(self, batch_size: int) -> None:
        """Take the farthest as long as it is surely one of the front, or until there are enough.

        The front are the farthest images at the start. Others have only come nearer since.
        """
        self._compare_all()
        front, limit = self._front()
        points, closest = self._points[front], self._closest[front]
        while len(self.picks) < batch_size:
            closest[~self._eligible.mask[self._images[front]]] = np.inf
            least = closest.min() + ROUNDING
            if least >= limit:
                return
            row = int(front[np.argmax(closest <= least)])
            self._take(row)
            np.maximum(closest, snap(points @ self._points[row]), out=closest)

    def _take(self, row: int) -> None:
        self._new.append(row)
        self.picks.append(int(self._images[row]))
        self._eligible.take(self.picks[-1])

    def _compare_all(self) -> None:
        """Bring `_closest`, the cosine of each with the nearest labelled one, up to date."""
        new = self._points[self._new]
        for part in blocks(len(self._points), len(new)):
            nearest = snap((self._points[part] @ new.T).max(axis=1))
            np.maximum(self._closest[part], nearest, out=self._closest[part])
        self._new = []

    def _front(self) -> tuple[IntArray, float]:
        """The farthest eligible rows, ascending, and the cosine of the farthest other one."""
        rows = np.flatnonzero(self._eligible.mask[self._images])
        closest: FloatArray = self._closest[rows]
        size = max(FRONT, int(SHARE * len(rows)))
        if size >= len(rows):
            return rows, np.inf
        inside = closest <= np.partition(closest, size)[size] + ROUNDING  # equal ones too
        return rows[inside], float(closest.min(where=~inside, initial=np.inf))
