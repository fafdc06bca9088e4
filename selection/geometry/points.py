"""The features of a pool's population at length 1, in memory or made when they are read."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fmsel.embeddings.vectors.shards import ShardedRows
from fmsel.selection.coverage.kernels import directions
from fmsel.selection.geometry.vectors import blocks, unit
from fmsel.selection.pool import IntArray, Pool

FloatArray = npt.NDArray[np.float32]
CHUNK = 10_000  # rows scaled at a time, so that a block is held once


@dataclass(frozen=True, eq=False)
class UnitRows:
    """Rows of shards scaled to length 1 whenever they are read; nothing is held.

    Attributes:
        features: (N, D).
        images: (P,) the rows meant, in this order; None = all N.
        zeros_apart: whether a feature is added that is 1 for rows of zeros, as `directions` does.
    """

    features: ShardedRows
    images: IntArray | None = None
    zeros_apart: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(P, D), or (P, D + 1) with the added feature."""
        count = len(self.features) if self.images is None else len(self.images)
        return count, self.features.shape[1] + self.zeros_apart

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | IntArray) -> FloatArray:
        """(n, D) or (n, D + 1) in memory, the same to the last bit as of all rows at once."""
        which = self._which(rows)
        found = np.zeros((len(which), self.shape[1]), dtype=np.float32)
        width = self.features.shape[1]
        for start in range(0, len(which), CHUNK):
            chunk = found[start : start + CHUNK]
            chunk[:, :width] = unit(self._features(which[start : start + CHUNK]))
            if self.zeros_apart:
                chunk[:, width] = ~chunk[:, :width].any(axis=1)
        return found

    def _which(self, rows: slice | IntArray) -> range | IntArray:
        if isinstance(rows, slice) and self.images is None:
            return range(*rows.indices(len(self.features)))
        return np.asarray(rows) if self.images is None else self.images[rows]

    def _features(self, which: range | IntArray) -> FloatArray:
        if isinstance(which, range):  # read without copying
            return self.features[slice(which.start, which.stop, which.step)]
        return self.features[which]


Points = FloatArray | UnitRows


def population_units(pool: Pool) -> Points:
    """(P, D) rows of the population of length 1; rows of zeros stay as they are.

    From shards they are read and scaled block by block; from other features they are in memory.
    """
    if not isinstance(pool.features, ShardedRows):
        return unit(pool.vectors(pool.population))
    images = None if pool.candidates is None else pool.population
    return UnitRows(pool.features, images)


def population_directions(pool: Pool) -> Points:
    """The same as `directions` gives them: rows of zeros get a direction of their own."""
    if not isinstance(pool.features, ShardedRows):
        return directions(pool.vectors(pool.population))
    rows = population_units(pool)
    assert isinstance(rows, UnitRows)
    apart = any(pool.backend.map(_has_zeros, rows, blocks(*rows.shape)))
    return replace(rows, zeros_apart=apart)


def subset(points: Points, rows: IntArray) -> Points:
    """These rows; of shards still none in memory."""
    if not isinstance(points, UnitRows):
        return points[rows]
    return replace(points, images=rows if points.images is None else points.images[rows])


def each_block(points: Points) -> Iterator[tuple[slice, FloatArray]]:
    """Every block of rows, in memory, with where it lies."""
    for part in blocks(*points.shape):
        yield part, points[part]


def _has_zeros(points: UnitRows, part: slice) -> bool:
    return not points[part].any(axis=1).all()
