"""What vectors must be before anything is computed from them."""

import warnings

import numpy as np
import numpy.typing as npt

from fmsel.embeddings.vectors.shards import ShardedRows
from fmsel.errors import DataError

LARGEST = 1e15  # its square, summed over features, still fits into float32
BLOCK = 10_000  # rows at a time, so that a memory-mapped file is never held twice


def check_vectors(
    vectors: npt.NDArray[np.floating] | ShardedRows, ids: npt.NDArray[np.str_], where: str
) -> None:
    """Refuse vectors that nothing can be computed from; warn of rows and features without content.

    Args:
        vectors: (N, D), N >= 1 and D >= 1.
        ids: (N,) of the rows, for the message.
        where: what they are, for the message.
    Raises:
        DataError: a value that is NaN, infinite or beyond ±1e15, or all rows alike.
    """
    low, high = vectors[:1].min(axis=0), vectors[:1].max(axis=0)
    faulty, empty = list[int](), list[int]()
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        good = (np.abs(block) <= LARGEST).all(axis=1)  # False for NaN too
        faulty += (start + np.flatnonzero(~good)).tolist()
        empty += (start + np.flatnonzero(~block.any(axis=1))).tolist()
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    if faulty:
        row = faulty[0]
        raise DataError(
            f"{where}: row {row} (id {ids[row]}) holds a value that is NaN, infinite or beyond "
            f"±{LARGEST:g}; {len(faulty)} of {len(vectors)} rows do; embed those images again"
        )
    constant = int((low == high).sum())
    if constant == len(low):
        raise DataError(
            f"{where}: all {len(vectors)} rows are the same, so there is nothing to tell the "
            "images apart by; check the images and the encoder"
        )
    if empty:
        warnings.warn(
            f"{where}: {len(empty)} of {len(vectors)} rows are all zeros, the first of them row "
            f"{empty[0]} (id {ids[empty[0]]}); if these images could not be read, embed them again",
            stacklevel=2,
        )
    if constant:
        warnings.warn(
            f"{where}: {constant} of {len(low)} features are the same for every image and tell "
            "nothing",
            stacklevel=2,
        )
