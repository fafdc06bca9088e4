"""What each candidate would add to the cover of some targets, and what is covered so far."""

from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fmsel.selection.coverage.kernels import ROUNDING, FloatArray, Kernel, snap
from fmsel.selection.geometry.backend import Backend
from fmsel.selection.geometry.points import Points
from fmsel.selection.geometry.vectors import blocks

IntArray = npt.NDArray[np.int64]
# Where the pairs of each candidate begin (and the end), their targets, and their kernel values.
Pairs = tuple[IntArray, npt.NDArray[np.int32], FloatArray]


class Gains(Protocol):
    """The gains of R candidates, which `add` never raises."""

    def gain(self, row: int) -> float:
        """What choosing candidate `row` adds now."""

    def add(self, row: int) -> None:
        """Choose candidate `row`."""


class DenseGains:
    """The kernel of every candidate and target is held: R x M float32.

    Args:
        candidates: (R, D) directions.
        targets: (M, D) directions to cover.
        weights: (M,) at least 0, of the targets.
        cover: (M,) how far they are covered already; changed by `add`.
    """

    def __init__(
        self,
        kernel: Kernel,
        candidates: Points,
        targets: FloatArray,
        weights: FloatArray,
        cover: FloatArray,
    ) -> None:
        self._weights, self._cover = weights, cover
        self._values = np.empty((len(candidates), len(targets)), dtype=np.float32)
        self._scratch = np.empty(len(targets), dtype=np.float32)
        for part in blocks(*self._values.shape):
            self._values[part] = kernel.values(snap(candidates[part] @ targets.T))

    def gain(self, row: int) -> float:
        more = np.subtract(self._values[row], self._cover, out=self._scratch)
        np.maximum(more, 0, out=more)
        more *= self._weights
        return float(more.sum(dtype=np.float64))

    def add(self, row: int) -> None:
        np.maximum(self._cover, self._values[row] + np.float32(ROUNDING), out=self._cover)

    def improving(self) -> float:
        """The share of the pairs of a candidate and a target that could still add something."""
        rows, columns = self._values.shape
        pairs = sum(
            np.count_nonzero(self._values[part] > self._cover) for part in blocks(rows, columns)
        )
        return pairs / (rows * columns)


class SparseGains:
    """Only pairs that improve on the cover at the start are held; no others ever will.

    Args: those of `DenseGains`, and the backend that finds the pairs. Memory is 8 bytes a pair that
    improves.
    """

    def __init__(
        self,
        kernel: Kernel,
        candidates: Points,
        targets: FloatArray,
        weights: FloatArray,
        cover: FloatArray,
        backend: Backend,
    ) -> None:
        self._weights, self._cover = weights, cover
        improving = partial(
            _improving, targets=targets, above=kernel.threshold(cover), kernel=kernel
        )
        parts = blocks(len(candidates), len(targets))
        self._parts = list(backend.map(improving, candidates, parts))
        self._step = len(self._parts[0][0]) - 1 if self._parts else 1  # rows of a part

    def gain(self, row: int) -> float:
        targets, values = self._pairs(row)
        more = values - self._cover[targets]
        np.maximum(more, 0, out=more)
        more *= self._weights[targets]
        return float(more.sum(dtype=np.float64))

    def add(self, row: int) -> None:
        targets, values = self._pairs(row)
        self._cover[targets] = np.maximum(self._cover[targets], values + np.float32(ROUNDING))

    def _pairs(self, row: int) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """The targets of one candidate, and the kernel of each."""
        starts, targets, values = self._parts[row // self._step]
        here = slice(starts[row % self._step], starts[row % self._step + 1])
        return targets[here], values[here]


def _improving(
    candidates: Points, part: slice, *, targets: FloatArray, above: FloatArray, kernel: Kernel
) -> Pairs:
    """The pairs of a block of candidates whose cosine is above a limit, which each target has."""
    cosines = candidates[part] @ targets.T
    rows, columns = np.nonzero(cosines > above)
    starts = np.searchsorted(rows, np.arange(len(cosines) + 1))
    values = kernel.values(snap(cosines[rows, columns]))
    return starts, columns.astype(np.int32), values


class FarthestGains:
    """How far the nearest chosen one is; each is compared with new ones when it is asked for.

    Args:
        candidates: (R, D) directions.
        closest: (R,) the cosine of each with the nearest one chosen before.
        most: how many will be added.
    """

    def __init__(self, candidates: FloatArray, closest: FloatArray, most: int) -> None:
        self._candidates, self._closest = candidates, closest.copy()
        self._added = np.empty((most, candidates.shape[1]), dtype=np.float32)
        self._count = 0
        self._compared = np.zeros(len(candidates), dtype=np.int64)  # with so many of the added

    def gain(self, row: int) -> float:
        if new := self._count - self._compared[row]:
            cosines = self._added[self._count - new : self._count] @ self._candidates[row]
            self._closest[row] = max(self._closest[row], snap(cosines).max())
            self._compared[row] = self._count
        return float(3 - self._closest[row])  # above 0 for equal vectors too

    def add(self, row: int) -> None:
        self._added[self._count] = self._candidates[row]
        self._count += 1
