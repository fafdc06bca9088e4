"""`ShardedRows`: vectors in several .npy files, memory-mapped and read as one array."""

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fmsel.errors import ArtefactError

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

PATTERN = "part-*.npy"  # the shards of a folder
BLOCK = 10_000  # rows hashed at a time


class Hashes(NamedTuple):
    """sha256 as `sha256_array` takes it, over dtype, shape and bytes."""

    whole: str  # that of the same rows in one array
    shards: tuple[str, ...]


class ShardedRows:
    """(N, D) float32 rows of files (N_i, D), one after the other; read-only.

    Files are opened when first read from. Pickled are their paths alone, so that other processes
    open the files themselves; they must find them at the same place.

    Attributes:
        paths: of the shards, absolute.
        shape: (N, D).
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, paths: Sequence[Path], lengths: Sequence[int], width: int) -> None:
        self.paths = tuple(paths)
        self.shape = (sum(lengths), width)
        self._lengths = tuple(lengths)
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)]).astype(np.int64)
        self._mapped: dict[int, FloatArray] = {}

    @classmethod
    def open(cls, paths: Sequence[Path]) -> "ShardedRows":
        """Look at every file's header.

        Raises:
            ArtefactError: no file, one that is missing or no .npy, rows that are not float32 in C
                order, or files that disagree in D.
        """
        if not paths:
            raise ArtefactError("vectors in shards need one .npy file or more, got none")
        arrays = [_map(path) for path in paths]
        check_widths(paths, [array.shape[1] for array in arrays])
        whole = [path.resolve() for path in paths]
        return cls(whole, [len(array) for array in arrays], arrays[0].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | IntArray) -> FloatArray:
        """A slice, without copying where one shard holds it, or the rows of an array of indices.

        Raises:
            IndexError: an index out of range.
            ArtefactError: a file that is gone or has changed its form.
        """
        if not isinstance(rows, slice):
            return self._take(np.asarray(rows))
        start, stop, step = rows.indices(len(self))
        if step != 1:
            return self._take(np.arange(start, stop, step))
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left"))
        parts = [
            self._shard(each)[max(start - int(self._starts[each]), 0) : stop - self._starts[each]]
            for each in range(first, min(last, len(self.paths)))
        ]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), dtype=np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All rows in memory, which takes 4 N D bytes."""
        if copy is False:
            raise ValueError("rows in shards cannot become one array without a copy")
        return np.array(self[:], dtype=dtype or self.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardedRows, (self.paths, self._lengths, self.shape[1])

    @cached_property
    def hashes(self) -> Hashes:
        """Of all rows and of each shard, in one reading."""
        whole = hashlib.sha256(_form(self.dtype, self.shape))
        each = []
        for number, length in enumerate(self._lengths):
            shard = self._shard(number)
            own = hashlib.sha256(_form(self.dtype, shard.shape))
            for start in range(0, length, BLOCK):
                block = shard[start : start + BLOCK].data
                own.update(block)
                whole.update(block)
            each.append(own.hexdigest())
        return Hashes(whole.hexdigest(), tuple(each))

    def _take(self, rows: npt.NDArray[Any]) -> FloatArray:
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                raise IndexError(f"a mask of {len(self)} rows has shape {rows.shape}")
            rows = np.flatnonzero(rows)
        if rows.size and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()}..{rows.max()} are not all among {len(self)}")
        rows = np.where(rows < 0, rows + len(self), rows).astype(np.int64)
        found = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        order = np.argsort(rows, kind="stable")  # files are read from front to back
        ends = np.searchsorted(rows[order], self._starts)
        for shard in np.flatnonzero(np.diff(ends)):
            here = order[ends[shard] : ends[shard + 1]]
            found[here] = self._shard(int(shard))[rows[here] - self._starts[shard]]
        return found

    def _shard(self, number: int) -> FloatArray:
        if number not in self._mapped:
            shard = _map(self.paths[number])
            if shard.shape != (self._lengths[number], self.shape[1]):
                raise ArtefactError(
                    f"{self.paths[number]} has changed: it holds {shard.shape[0]} rows of "
                    f"{shard.shape[1]}, and held {self._lengths[number]} of {self.shape[1]}"
                )
            self._mapped[number] = shard
        return self._mapped[number]


Rows = FloatArray | ShardedRows  # of embeddings: both take slices and arrays of indices


def as_shards(rows: Rows) -> Rows:
    """Rows of a memory-mapped .npy as one shard, which other processes can open; others as are."""
    if not isinstance(rows, np.memmap) or rows.filename is None:
        return rows
    shard = ShardedRows.open([Path(rows.filename)])
    return shard if shard.shape == rows.shape else rows


def shards_of(folder: Path) -> list[Path]:
    """The files `part-*.npy` of a folder, part-2 before part-10; ArtefactError for none."""
    found = sorted(folder.glob(PATTERN), key=_natural)
    if not found:
        raise ArtefactError(
            f"{folder} holds no files {PATTERN}; save the vectors as part-0.npy, part-1.npy, … in "
            "the order of the images"
        )
    return found


def check_widths(paths: Sequence[Path], widths: Sequence[int]) -> None:
    """ArtefactError where the rows of two files differ in length; it names both."""
    for path, width in zip(paths, widths, strict=True):
        if width != widths[0]:
            raise ArtefactError(
                f"{paths[0]} holds rows of {widths[0]} features and {path.name} of {width}; all "
                "shards must have as many, so embed the images of one of them again"
            )


def _natural(path: Path) -> list[str | int]:
    pieces = re.split(r"(\d+)", path.name)  # text and digits in turn
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)]


def _form(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    return f"{dtype.str}{shape}".encode()


def _map(path: Path) -> FloatArray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtefactError(
            f"the shard {path} cannot be read ({error}); put it back, or run `fmsel embed` again"
        ) from error
    if array.dtype != np.float32 or array.ndim != 2 or not array.flags.c_contiguous:
        order = "C" if array.flags.c_contiguous else "Fortran"
        raise ArtefactError(
            f"the shard {path} must hold float32 of shape (N, D) in C order, got {array.dtype} of "
            f"shape {array.shape} in {order} order; run `fmsel embed` again"
        )
    return np.asarray(array)
