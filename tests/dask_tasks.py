"""What the workers of a Dask cluster run in tests, where other processes can import it."""

import os
import time
from pathlib import Path

import numpy as np

from fmsel.errors import ArtefactError


def shifted(numbers: np.ndarray, part: slice, *, by: int) -> np.ndarray:
    """The numbers of a block, and `by` more."""
    return np.asarray(numbers[part] + by)


def failing(numbers: np.ndarray, part: slice) -> None:
    """What a missing file does."""
    raise ArtefactError(f"rows {part.start} to {part.stop} are not there")


def deadly(numbers: np.ndarray, part: slice) -> None:
    """What ends its process, as too little memory does."""
    os._exit(1)


def once_killed(numbers: np.ndarray, part: slice, *, mark: Path) -> np.ndarray:
    """The first process that comes to row 30 dies there."""
    if part.start == 30 and not mark.exists():
        mark.touch()
        os._exit(1)
    time.sleep(0.02)  # so that both workers have some done
    return np.asarray(numbers[part] * 2)
