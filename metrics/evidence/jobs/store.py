"""The cache of finished jobs: named arrays a job, in one npz file each."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import atomic_path, cache_dir
from fmsel.errors import OutputError


def _path(name: str) -> Path:
    return cache_dir() / "evidence" / f"{name}.npz"


def is_stored(name: str) -> bool:
    """Whether there is a file of this name; `load_arrays` tells whether it can be read."""
    return _path(name).exists()


def load_arrays(name: str) -> dict[str, npt.NDArray[np.generic]] | None:
    """Cached arrays; None where there are none or the file is broken."""
    try:
        with np.load(_path(name), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def save_arrays(name: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Cache arrays; a cache that cannot be written only costs time later."""
    try:
        with atomic_path(_path(name), force=True) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OutputError:
        return
