"""Image files of a folder, in natural order, with what tells one version from the next."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from fmsel.errors import DataError

# Lower case; files with other suffixes are no images.
SUFFIXES = frozenset(
    ("bmp", "gif", "jpeg", "jpg", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp")
)


class ImageFile(NamedTuple):
    """One file, as its folder lists it."""

    path: str  # relative to the data set's root, with forward slashes
    size: int  # bytes
    mtime_ns: int


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sorts "2.png" before "10.png"."""
    pieces = re.split(r"(\d+)", text.lower())
    return [int(piece) if odd % 2 else piece for odd, piece in enumerate(pieces)], text


def list_images(root: Path, folder: str = "") -> list[ImageFile]:
    """Image files directly inside `root/folder`, in natural order; hidden files are skipped.

    Raises:
        DataError: the folder cannot be listed, or one of its files is gone (a dangling link).
    """
    prefix = f"{folder}/" if folder else ""
    found = []
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if _is_image_name(entry.name) and not entry.is_dir():
                    stat = entry.stat()
                    found.append(ImageFile(prefix + entry.name, stat.st_size, stat.st_mtime_ns))
    except OSError as error:
        raise DataError(
            f"{error.filename or root / folder} cannot be read ({error.strerror}); "
            "mend its permissions or remove it"
        ) from error
    return sorted(found, key=lambda file: natural_key(file.path))


def list_folders(root: Path) -> list[str]:
    """Names of the folders directly inside `root`, in natural order.

    Hidden ones and those in double underscores (`__MACOSX`, `__pycache__`) are skipped.

    Raises:
        DataError: `root` is no folder or cannot be listed.
    """
    try:
        names = [entry.name for entry in os.scandir(root) if entry.is_dir()]
    except OSError as error:
        raise DataError(
            f"the image folder {root} cannot be read ({error.strerror}); check the path"
        ) from error
    return sorted((name for name in names if not name.startswith((".", "__"))), key=natural_key)


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and name.rpartition(".")[2].lower() in SUFFIXES
