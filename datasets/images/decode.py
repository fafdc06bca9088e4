"""Image files into one uint8 array, all of one square size, with the faulty ones named."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from fmsel.datasets.images.files import ImageFile
from fmsel.datasets.images.resize import resize_image
from fmsel.errors import DataError
from fmsel.progress import progress_bar

DECODER = 2  # raise when the same file would decode to other pixels, or be refused
CHUNK = 32  # images a thread decodes between two looks at Ctrl-C
SHOWN = 3  # faulty files named in an error

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
# 8 bits a channel; the others (I;16, I, F) would lose what makes them different from one another.
MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})

BITS_PER_SAMPLE = 258  # a tag of TIFF
DEEP = re.compile(";16[BLN]")  # "BGR;16" is 16 bits a pixel


class _Outcome(NamedTuple):
    mode: str = ""
    problem: str = ""


def decode(
    root: Path, files: Sequence[ImageFile], resize: int | None, name: str
) -> npt.NDArray[np.uint8]:
    """Decode `files` (at least one) into (N, S, S, 3) uint8.

    Photographs are turned upright (EXIF), transparency is laid on white, and every mode of 8 bits
    a channel becomes RGB, with a warning where a data set mixes them.

    Args:
        root: the folder that the paths are relative to.
        files: in the order of the result.
        resize: S; None = the files' own size, which must then be one and square.
        name: of the data set, for messages.
    Raises:
        DataError: files that cannot be decoded (the first are named, all are counted), or images
            of unequal or oblong size without `resize`.
    """
    Image.init()  # registers every format now: threads must not race to do it
    side, model = (resize, "") if resize else _own_side(root, files, name)
    images = np.empty((len(files), side, side, 3), dtype=np.uint8)

    def work(start: int) -> list[_Outcome]:
        rows = range(start, min(start + CHUNK, len(files)))
        return [_decode_row(images[row], root, files[row].path, resize, model) for row in rows]

    outcomes: list[_Outcome] = []
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with progress_bar(f"decoding {name} ({images.nbytes / 1e6:,.0f} MB)", len(files)) as tick:
            for done in pool.map(work, range(0, len(files), CHUNK)):
                outcomes += done
                tick(len(done))
    finally:
        pool.shutdown(cancel_futures=True)
    _refuse_faulty(root, files, outcomes)
    _warn_of_mixed_modes(name, files, outcomes)
    return images


def _decode_row(
    row: npt.NDArray[np.uint8], root: Path, path: str, resize: int | None, model: str
) -> _Outcome:
    """Fill one row of the result; only a wrong size ends the whole job at once."""
    try:
        image, mode = _decode_file(root / path, resize)
    except Exception as error:  # on corrupt bytes, Pillow's decoders raise nearly anything
        return _Outcome(problem=_reason(error))
    if image.size != row.shape[:2]:
        side = len(row)
        raise DataError(
            f"the images in {root} differ in size: {model} is {side} x {side} and {path} is "
            f"{image.width} x {image.height} pixels; pass --resize N to make all N x N"
        )
    row[:] = np.asarray(image)
    return _Outcome(mode=mode)


def _decode_file(path: Path, resize: int | None) -> tuple[Image.Image, str]:
    """An upright RGB image, and the mode that the file has."""
    image, mode = upright_rgb(path, 2 * resize if resize else None)
    return (resize_image(image, resize) if resize else image), mode


def upright_rgb(path: Path, finest: int | None = None) -> tuple[Image.Image, str]:
    """One file's image, and the mode that the file has.

    Args:
        path: of the file.
        finest: pixels; a JPEG may be decoded smaller than it is, but no smaller than this each way.
    Raises:
        DataError: a mode that has no 8-bit RGB form.
        Exception: nearly any, on corrupt bytes.
    """
    with Image.open(path, formats=FORMATS) as image:
        mode = image.mode
        if mode not in MODES:
            raise DataError(f"mode {mode} has no 8-bit RGB form; convert it first")
        if _is_deep(image):
            raise DataError("it has 16 bits a channel, and 8 would be lost; convert it first")
        if finest:
            image.draft(None, (finest, finest))
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image), mode


def _is_deep(image: Image.Image) -> bool:
    """Whether the file has more than 8 bits a channel, of which Pillow would drop the lower ones.

    The mode of such an image is that of 8 bits; what its decoder is told, such as "RGB;16B" or, of
    a PPM, the largest value, is not.
    """
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, 8)
    if max(bits if isinstance(bits, tuple) else (bits,)) > 8:
        return True
    return any(
        DEEP.search(str(told))
        or (codec.startswith("ppm") and isinstance(told, tuple) and told[1] > 255)
        for codec, _, _, told in getattr(image, "tile", ())
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _own_side(root: Path, files: Sequence[ImageFile], name: str) -> tuple[int, str]:
    """Side of the first readable image, and its path; that image must be square."""
    outcomes = []
    for file in files:
        try:
            image, _ = _decode_file(root / file.path, None)
        except Exception as error:  # as above
            outcomes.append(_Outcome(problem=_reason(error)))
            continue
        if image.width != image.height:
            raise DataError(
                f"the images of {name} must be square, and {root / file.path} is "
                f"{image.width} x {image.height} pixels; pass --resize N to crop all to N x N"
            )
        return image.width, file.path
    raise _faulty(root, files, outcomes)


def _refuse_faulty(root: Path, files: Sequence[ImageFile], outcomes: Sequence[_Outcome]) -> None:
    if any(outcome.problem for outcome in outcomes):
        raise _faulty(root, files, outcomes)


def _faulty(root: Path, files: Sequence[ImageFile], outcomes: Sequence[_Outcome]) -> DataError:
    faults = [
        f"{file.path} ({outcome.problem})"
        for file, outcome in zip(files, outcomes, strict=True)
        if outcome.problem
    ]
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return DataError(
        f"{len(faults)} of {len(files)} images in {root} cannot be used: "
        f"{', '.join(faults[:SHOWN])}{more}; mend or remove them"
    )


def _warn_of_mixed_modes(
    name: str, files: Sequence[ImageFile], outcomes: Sequence[_Outcome]
) -> None:
    modes = [outcome.mode for outcome in outcomes]
    (common, count), *odd = Counter(modes).most_common()
    if odd:
        rest = ", ".join(f"{n} in {mode} ({files[modes.index(mode)].path})" for mode, n in odd)
        warnings.warn(
            f"{name} mixes image modes, and all were made RGB: {count} in {common}, {rest}",
            stacklevel=2,
        )


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own message repeats the path
        return "its bytes are no image"
    return str(error) or type(error).__name__
