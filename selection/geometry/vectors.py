"""Blocks of rows, and rows of unit length."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
MEMORY = 256 * 2**20  # bytes that one block of a pairwise pass may take


def unit(vectors: FloatArray) -> FloatArray:
    """(N, D) rows of Euclidean length 1; rows of zeros stay as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def blocks(rows: int, width: int) -> Iterator[slice]:
    """Slices of `rows` rows, so many at a time that rows x width float32 fit into `MEMORY`."""
    step = max(1, MEMORY // (4 * max(width, 1)))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """(A, B) squared Euclidean distances of the rows of (A, D) and (B, D), at least 0."""
    apart = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2 * (a @ b.T)
    return np.asarray(np.maximum(apart, 0, out=apart))
