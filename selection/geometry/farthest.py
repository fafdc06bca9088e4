"""`Farthest`: the image farthest from all held or chosen ones, again and again."""

from collections.abc import Iterable

import numpy as np

from fmsel.selection.coverage.kernels import ROUNDING, FloatArray, snap
from fmsel.selection.geometry.vectors import blocks
from fmsel.selection.pool import Eligible, IntArray

FRONT = 1_000  # images looked at between two passes over all, at least
SHARE = 1 / 16  # of the images that are looked at between two passes over all, at least


class Farthest:
    """A choice in the making; rows count within the points given.

    Distances are compared by cosines. Of those that differ by `ROUNDING` at most, the lowest row is
    next, so that neither threads nor the place of a row in a matrix decide between equal ones.

    Args:
        points: (R, D) directions, in memory for every pick.
        images: (R,) ascending global indices of the rows.
        eligible: what may be chosen; kept up to date.
        closest: (R,) the cosine of each with the nearest one held or chosen before; None = -1.

    Attributes:
        picks: rows chosen so far, in order.
    """

    def __init__(
        self,
        points: FloatArray,
        images: IntArray,
        eligible: Eligible,
        closest: FloatArray | None = None,
    ) -> None:
        self.picks: list[int] = []
        self._points, self._images, self._eligible = points, images, eligible
        self._closest = np.full(len(points), -1, np.float32) if closest is None else closest.copy()
        self._new: list[int] = []  # not in `_closest` yet

    def hold(self, rows: Iterable[int]) -> None:
        """Count these rows as held: what is far from them too is far."""
        self._new += rows

    def take(self, row: int) -> None:
        """Choose a row."""
        self.picks.append(row)
        self._new.append(row)
        self._eligible.take(int(self._images[row]))

    def grow(self, size: int) -> None:
        """Take the farthest, until `size` rows are chosen; so many may be chosen."""
        while len(self.picks) < size:
            self._compare_all()
            self._take_front(size)

    def _take_front(self, size: int) -> None:
        """Take the farthest as long as it is surely one of the front, or until there are enough.

        The front are the farthest images at the start. Others have only come nearer since.
        """
        front, limit = self._front()
        points, closest = self._points[front], self._closest[front]
        while len(self.picks) < size:
            closest[~self._eligible.mask[self._images[front]]] = np.inf
            least = closest.min() + ROUNDING
            if least >= limit:
                return
            row = int(front[np.argmax(closest <= least)])
            self.take(row)
            np.maximum(closest, snap(points @ self._points[row]), out=closest)

    def _compare_all(self) -> None:
        """Bring `_closest` up to date."""
        new = self._points[self._new]
        if not len(new):
            return
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
