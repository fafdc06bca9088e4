"""Passes over pairs of rows, one block at a time: pure functions that a `Backend` runs anywhere."""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from fmsel.selection.geometry.backend import Backend
from fmsel.selection.geometry.points import Points
from fmsel.selection.geometry.vectors import blocks

FloatArray = npt.NDArray[np.float32]
Sums = npt.NDArray[np.float64]
Values = Callable[[FloatArray], FloatArray]  # a kernel, given inner products


def kernel_with(points: Points, row: FloatArray, kernel: Values, backend: Backend) -> FloatArray:
    """(P,) kernel values of every one of (P, D) points with one row (D,)."""
    parts = blocks(*points.shape)
    return np.concatenate(list(backend.map(partial(_with, row=row, kernel=kernel), points, parts)))


def kernel_sums(
    points: Points, others: FloatArray, kernel: Values, backend: Backend, smaller: int = 1
) -> Sums:
    """(P,) sums of the kernel values of every one of (P, D) points with all (A, D) others.

    Args:
        smaller: by which blocks are smaller than elsewhere.
    """
    parts = blocks(len(points), max(smaller * len(others), points.shape[1]))
    add = partial(_sums, others=others, kernel=kernel)
    return np.concatenate([np.empty(0), *backend.map(add, points, parts)])


def own_kernel_sums(points: FloatArray, kernel: Values, backend: Backend, smaller: int) -> Sums:
    """(P,) sums of the kernel values of every one of (P, D) points with all of them.

    Each pair is computed once. A block takes all points that come after it.
    """
    sums = np.zeros(len(points))
    parts = list(blocks(len(points), smaller * len(points)))
    found = backend.map(partial(_own_sums, kernel=kernel), points, parts)
    for part, (own, later) in zip(parts, found, strict=True):
        sums[part] += own
        sums[part.stop :] += later
    return sums


def _with(points: Points, part: slice, *, row: FloatArray, kernel: Values) -> FloatArray:
    return kernel(points[part] @ row)


def _sums(points: Points, part: slice, *, others: FloatArray, kernel: Values) -> Sums:
    return np.asarray(kernel(points[part] @ others.T).sum(axis=1, dtype=np.float64))


def _own_sums(points: FloatArray, part: slice, *, kernel: Values) -> tuple[Sums, Sums]:
    """Of the rows of the block, and of all later rows with those of the block."""
    values = kernel(points[part] @ points[part.start :].T)
    later = values[:, part.stop - part.start :]
    return values.sum(axis=1, dtype=np.float64), later.sum(axis=0, dtype=np.float64)
