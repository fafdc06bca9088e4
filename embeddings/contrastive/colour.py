"""Colour jitter of batches of float images, with a factor of each image's own, on any device.

Every function takes (V, 3, H, W) float in [0, 1] and returns the same; factors are (V,) float. They
are those of torchvision on float tensors, to rounding.
"""

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # torchvision's weights of red, green and blue


def grey(images: Tensor) -> Tensor:
    """The luma in one channel: (V, 1, H, W)."""
    red, green, blue = torch.split(images, 1, dim=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """0 = black, 1 = as it was."""
    return (images * _each(factor)).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """0 = the image's mean grey, 1 = as it was."""
    return _blend(images, grey(images).mean(dim=(2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """0 = grey, 1 = as it was."""
    return _blend(images, grey(images), factor)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by `shift` in [-0.5, 0.5] of the circle."""
    red, green, blue = torch.split(images, 1, dim=1)
    value, low = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    chroma = value - low
    scale = torch.where(chroma > 0, chroma, 1)
    sixth = torch.where(
        value == red,
        (green - blue) / scale,
        torch.where(value == green, 2 + (blue - red) / scale, 4 + (red - green) / scale),
    )
    turned = sixth + 6 * _each(shift)
    # A channel falls from `value` to `low` with its distance from its own place on the circle.
    places = torch.tensor([5.0, 3.0, 1.0], device=images.device)[:, None, None]
    distance = (turned + places).remainder(6)
    return value - chroma * torch.minimum(distance, 4 - distance).clamp_(0, 1)


JITTER = (brightness, contrast, saturation, hue)
NEUTRAL = (1.0, 1.0, 1.0, 0.0)  # factors that change nothing


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    share = _each(factor)
    return (share * images + (1 - share) * other).clamp_(0, 1)


def _each(factor: Tensor) -> Tensor:
    return factor[:, None, None, None]
