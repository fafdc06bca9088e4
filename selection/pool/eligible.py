"""`Eligible`: what may still be chosen while a choice is being made."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fmsel.selection.pool.pool import IntArray, Pool


class Eligible:
    """The available images of a pool; taking one closes its whole group.

    Attributes:
        mask: (N,) bool, True = may be chosen; kept up to date by `take`.
    """

    def __init__(self, pool: Pool) -> None:
        self.mask: npt.NDArray[np.bool_] = np.zeros(pool.n, dtype=bool)
        self.mask[pool.available] = True
        self._mates = _mates(pool)

    def take(self, index: int) -> IntArray:
        """Choose one image; returns the images that this closed, itself among them."""
        closed = self._mates.get(index, np.array([index], dtype=np.int64))
        self.mask[closed] = False
        return closed

    def take_first(self, order: Iterable[int], count: int) -> list[int]:
        """Take the first `count` images of `order` that may be chosen; fewer if it ends."""
        taken: list[int] = []
        for index in map(int, order):
            if len(taken) >= count:
                break
            if self.mask[index]:
                self.take(index)
                taken.append(index)
        return taken


def _mates(pool: Pool) -> dict[int, IntArray]:
    """Of every available image that shares its group with others, all available ones of it."""
    if pool.groups is None:
        return {}
    by_group = pool.available[np.argsort(pool.groups[pool.available], kind="stable")]
    starts = np.flatnonzero(np.diff(pool.groups[by_group])) + 1
    shared = (mates for mates in np.split(by_group, starts) if len(mates) > 1)
    return {int(index): mates for mates in shared for index in mates}
