"""What each candidate would add to the cover of some targets, and what is covered so far."""

from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fmsel.selection.coverage.kernels import ROUNDING, FloatArray, Kernel, cosines
from fmsel.selection.geometry.backend import Backend
from fmsel.selection.geometry.points import Points
from fmsel.selection.geometry.vectors import blocks

IntArray = npt.NDArray[np.int64]
# Where the pairs of each candidate begin (and the end), their targets, and their kernel values.
Pairs = tuple[IntArray, npt.NDArray[np.int32], FloatArray]


class Gain(NamedTuple):
    """What a candidate adds, and how far rounding may have moved that."""

    value: float
    doubt: float


class Gains(Protocol):
    """The gains of R candidates, which `add` never raises."""

    def gain(self, row: int) -> Gain:
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
        self._weights, self._cover, self._kernel = weights, cover, kernel
        self._values = np.empty((len(candidates), len(targets)), dtype=np.float32)
        self._scratch = np.empty(len(targets), dtype=np.float32)
        for part in blocks(*self._values.shape):
            self._values[part] = kernel.values(cosines(candidates[part], targets, kernel.edge))

    def gain(self, row: int) -> Gain:
        more = np.subtract(self._values[row], self._cover, out=self._scratch)
        return _gain(more, self._values[row], self._weights, self._kernel)

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
        self._weights, self._cover, self._kernel = weights, cover, kernel
        improving = partial(
            _improving, targets=targets, above=kernel.threshold(cover), kernel=kernel
        )
        parts = blocks(len(candidates), len(targets))
        self._parts = list(backend.map(improving, candidates, parts))
        self._step = len(self._parts[0][0]) - 1 if self._parts else 1  # rows of a part

    def gain(self, row: int) -> Gain:
        targets, values = self._pairs(row)
        more = values - self._cover[targets]
        return _gain(more, values, self._weights[targets], self._kernel)

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
    found = cosines(candidates[part], targets, kernel.edge)
    rows, columns = np.nonzero(found > above)
    starts = np.searchsorted(rows, np.arange(len(found) + 1))
    return starts, columns.astype(np.int32), kernel.values(found[rows, columns])


def _gain(more: FloatArray, values: FloatArray, weights: FloatArray, kernel: Kernel) -> Gain:
    """The gain of kernel values that exceed the cover by `more`, which is overwritten.

    In doubt are the values that add something, as far as their cosines are not known exactly.
    """
    np.maximum(more, 0, out=more)
    doubt = 0.0
    if kernel.steepness:
        uncertain = (more > 0) & (values < 1)  # those of equal vectors are exactly 1
        doubt = kernel.steepness * ROUNDING * float(values @ (uncertain * weights))
    more *= weights
    return Gain(float(more.sum(dtype=np.float64)), doubt)
