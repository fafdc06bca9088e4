"""Decoded images kept on disk, so that a folder is decoded once and then loads in a second."""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import atomic_path, cache_dir, sha256_array, sha256_json, write_text
from fmsel.datasets.images.decode import DECODER, decode
from fmsel.datasets.images.files import ImageFile


class Decoded(NamedTuple):
    """Images and their fingerprint."""

    images: npt.NDArray[np.uint8]  # (N, S, S, 3)
    sha256: str


def decode_once(root: Path, files: Sequence[ImageFile], resize: int | None, name: str) -> Decoded:
    """`decode`, or what it gave the last time for the same files.

    A file is the same while its path, size and modification time are. The stored array is
    verified against its sha256, which is also its fingerprint; a cache that is broken or cannot
    be written costs time and nothing else.

    Raises:
        DataError: as `decode`.
    """
    path = cache_dir() / "decoded" / f"{_key(root, files, resize)}.npy"
    found = _read(path)
    if found is None:
        images = decode(root, files, resize, name)
        found = Decoded(images, sha256_array(images))
        _write(path, found)
    return found


def _key(root: Path, files: Sequence[ImageFile], resize: int | None) -> str:
    digest = hashlib.sha256(sha256_json([DECODER, resize, str(root.resolve())]).encode())
    digest.update("\n".join(f"{f.path}\0{f.size}\0{f.mtime_ns}" for f in files).encode())
    return digest.hexdigest()


def _read(path: Path) -> Decoded | None:
    """What is stored, or None where there is nothing or not all of it."""
    try:
        expected = path.with_suffix(".sha256").read_text()
        images = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return Decoded(images, expected) if sha256_array(images) == expected else None


def _write(path: Path, decoded: Decoded) -> None:
    try:
        with atomic_path(path, force=True) as temporary, temporary.open("wb") as file:
            np.save(file, decoded.images)
        write_text(path.with_suffix(".sha256"), decoded.sha256, force=True)
    except OSError as error:
        warnings.warn(
            f"the decoded images cannot be kept, so they will be decoded again: {error}",
            stacklevel=2,
        )
