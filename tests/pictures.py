"""Images, and Pillow as the oracle of what is done to them."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageEnhance, ImageOps

from fmsel.training.augment.strong import StrongAugment, ctaugment
from fmsel.training.augment.weak import to_float

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
CPU = torch.device("cpu")
ENHANCE = {
    "brightness": ImageEnhance.Brightness,
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}


def some_images(count: int, side: int, seed: int) -> Pixels:
    """(count, 3, side, side): noise, ramps, narrow ranges and equal channels with flat parts."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, side, side))
    images[1::4] = np.linspace(0, 255, side).astype(int)[:, None] + images[1::4] // 9
    images[2::4] = 100 + images[2::4] // 5
    images[3::4] = np.where(images[3::4, :1] > 128, images[3::4, :1], 16)
    return images.clip(0, 255).astype(np.uint8)


def picture_of(image: Pixels) -> Image.Image:
    return Image.fromarray(image.transpose(1, 2, 0))


def pixels_of(picture: Image.Image) -> Pixels:
    return np.asarray(picture).transpose(2, 0, 1)


def affine(picture: Image.Image, *coefficients: float) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, coefficients)


def strong(augment: StrongAugment, images: torch.Tensor, seed: int) -> torch.Tensor:
    return augment.distort(images, augment.draw(len(images), keyed(seed)))


def keyed(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rates_of(seed: int, side: int = 16) -> ctaugment.CTAugment:
    """With rates as in the middle of a training."""
    augment = ctaugment.make(side, CPU)
    augment.rates.copy_(1 - 0.4 * torch.rand(augment.rates.shape, generator=keyed(seed)))
    return augment


def assert_pictures(ours: torch.Tensor, theirs: list[Image.Image]) -> None:
    expected = np.stack([pixels_of(picture) for picture in theirs])
    np.testing.assert_array_equal(ours.numpy(), to_float(torch.from_numpy(expected)).numpy())


def pillow_op(name: str, picture: Image.Image, value: float) -> Image.Image:
    match name:
        case "identity":
            return picture
        case "autocontrast":
            return ImageOps.autocontrast(picture)
        case "equalize":
            return ImageOps.equalize(picture)
        case "posterize":
            return ImageOps.posterize(picture, int(value))
        case "solarize":
            # Pillow compares every value of 0..255 with the threshold, a fraction or not.
            return ImageOps.solarize(picture, value)  # type: ignore[arg-type]
        case "rotate":
            return picture.rotate(value)
        case "shear_x":
            return affine(picture, 1, value, 0, 0, 1, 0)
        case "shear_y":
            return affine(picture, 1, 0, 0, value, 1, 0)
        case "translate_x":
            return affine(picture, 1, 0, value, 0, 1, 0)
        case "translate_y":
            return affine(picture, 1, 0, 0, 0, 1, value)
    return ENHANCE[name](picture).enhance(value)
