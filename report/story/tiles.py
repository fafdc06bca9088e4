"""Thumbnails: how many a page bears, and how one is written."""

import base64
import io

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from PIL import Image

from fmsel.datasets import ImageDataset
from fmsel.report.gallery import thumbnail
from fmsel.report.page import image_uri

MOST = 2_000  # on a page
LOSSLESS = 40  # pixels a side up to which thumbnails are PNG; larger ones would be too heavy
QUALITY = 80  # of JPEG
SMALLEST, ENLARGED = 48, 64  # pixels that an image is shown at: at least, and by enlarging


def tile_uri(pixels: npt.NDArray[np.uint8]) -> Markup:
    """A data URI of a thumbnail: 2 to 5 kB each, so that a page of them stays below 15 MB.

    Args:
        pixels: (H, W, 3) uint8.
    """
    small = thumbnail(pixels)
    if max(small.shape[:2]) <= LOSSLESS:
        return image_uri(small)
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, format="JPEG", quality=QUALITY)
    return Markup("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"))


def shown_side(data: ImageDataset) -> int:
    """Pixels that an image's longer side is shown at."""
    height, width, _ = thumbnail(data.images[0]).shape
    side = int(max(height, width))
    return max(SMALLEST, min(2 * side, ENLARGED), side)


def image_name(data: ImageDataset, index: int) -> str:
    """Index, and the name where it has another."""
    name = str(data.ids[index])
    return str(index) if name == str(index) else f"{index} ({name})"
