"""Thumbnails, many in one picture: a page of a gallery needs a few requests instead of hundreds."""

import io
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from fmsel.datasets import ImageDataset
from fmsel.report.gallery import thumbnail

COLUMNS = 8  # thumbnails side by side
MOST = 64  # thumbnails in a sheet
LOSSLESS = 64  # pixels: up to this side a thumbnail is shown as the network sees it
QUALITY = 90  # of larger ones


def thumbnail_size(data: ImageDataset) -> tuple[int, int]:
    """Height and width of every thumbnail of a data set, in pixels."""
    height, width, _ = thumbnail(data.images[0]).shape
    return height, width


def media_type(data: ImageDataset) -> str:
    """Of a data set's sheets."""
    return "image/png" if max(thumbnail_size(data)) <= LOSSLESS else "image/jpeg"


def sheet(data: ImageDataset, indices: Sequence[int]) -> bytes:
    """The thumbnails of these images in rows of `COLUMNS`, in order, without gaps.

    A lossless PNG where thumbnails have up to `LOSSLESS` pixels a side, else a JPEG.

    Args:
        indices: 1 to `MOST` of them.
    """
    height, width = thumbnail_size(data)
    rows = -(-len(indices) // COLUMNS)
    cells = np.zeros((rows * COLUMNS, height, width, 3), dtype=np.uint8)
    for cell, index in zip(cells, indices, strict=False):
        cell[:] = thumbnail(data.images[index])
    by_row = cells.reshape(rows, COLUMNS, height, width, 3).transpose(0, 2, 1, 3, 4)
    return _encoded(by_row.reshape(rows * height, COLUMNS * width, 3), media_type(data))


def _encoded(pixels: npt.NDArray[np.uint8], kind: str) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if kind == "image/png":
        # A quarter of the time of level 1, and photographs grow by three hundredths.
        image.save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_HUFFMAN_ONLY)
    else:
        image.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
