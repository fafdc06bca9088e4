"""Images of one size made into squares of another."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from fmsel.progress import progress_bar


def resize_image(image: Image.Image, side: int) -> Image.Image:
    """The largest centred square of an RGB image, bicubic with antialiasing, side x side pixels."""
    if image.size == (side, side):
        return image
    return ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)


def resize_images(images: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """`resize_image` of every image: (N, H, W, 3) uint8 -> (N, side, side, 3) uint8."""
    out = np.empty((len(images), side, side, 3), dtype=np.uint8)
    with progress_bar("resizing", len(images)) as advance:
        for index, image in enumerate(images):
            out[index] = np.asarray(resize_image(Image.fromarray(image), side))
            advance(1)
    return out
