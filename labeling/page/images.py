"""`ImageFiles`: an image of the data set as a file for the browser, at the size it is shown."""

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fmsel.datasets import ImageDataset, dataset_names
from fmsel.datasets.images.decode import upright_rgb
from fmsel.labeling.pictures import SIDE

KEPT = 512  # images in memory, about 50 kB each
QUALITY = 90  # of JPEG
BLOCK = 24  # pixels that a pixel becomes at most: larger blocks hide what they show


class ImageFiles:
    """Images of one data set, made when they are asked for; the last `KEPT` are kept.

    Those of a folder come from their own files, which may be larger than what is trained on. What
    leaves is always made anew from pixels: nothing else that a file holds, such as where a
    photograph was taken, is given away.
    """

    def __init__(self, data: ImageDataset) -> None:
        self._data = data
        built_in = data.source.dataset in dataset_names()
        self._root = None if built_in else Path(data.source.dataset)
        self._encoded = lru_cache(KEPT)(self._encode)

    def tag(self, index: int, side: int) -> str:
        """What tells this picture from all others, for caches."""
        return f"{self._data.images_sha256[:16]}-{index}-{side}"

    def encoded(self, index: int, side: int) -> tuple[bytes, str]:
        """An image, and its media type.

        Images of at most `side` / 2 are enlarged, each pixel to a block of `BLOCK` or fewer;
        larger ones than `side` are made smaller. Small ones, where every pixel counts, are PNG,
        others JPEG.

        Args:
            index: in the data set.
            side: pixels that the longer side has at most.
        """
        return self._encoded(index, side)

    def _encode(self, index: int, side: int) -> tuple[bytes, str]:
        image = self._image(index, side)
        longest = max(image.size)
        if longest > side:
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
        elif (k := min(side // longest, BLOCK)) > 1:
            image = image.resize((k * image.width, k * image.height), Image.Resampling.NEAREST)
        content = io.BytesIO()
        if longest <= SIDE:
            image.save(content, "PNG")
            return content.getvalue(), "image/png"
        image.save(content, "JPEG", quality=QUALITY)
        return content.getvalue(), "image/jpeg"

    def _image(self, index: int, side: int) -> Image.Image:
        """Pixels alone; those that are trained on where a file cannot be read any more."""
        if self._root is None:
            return Image.fromarray(self._data.images[index])
        try:
            image, _ = upright_rgb(self._root / str(self._data.ids[index]), side)
        except Exception:  # on corrupt bytes, Pillow's decoders raise nearly anything
            return Image.fromarray(self._data.images[index])
        return Image.fromarray(np.asarray(image))
