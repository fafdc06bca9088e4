"""Pillow's colour operations on batches of uint8 images, bit for bit.

Every function takes and returns (G, 3, P) uint8, P = side * side pixels in row order; `level` is
(G,) int64 in 1..9. Everything but AutoContrast is integer arithmetic.
"""

import torch
from torch import Tensor


def luma(images: Tensor) -> Tensor:
    """(G, 3, P) uint8 -> (G, 1, P) int64: Pillow's conversion to mode L."""
    red, green, blue = images.long().unbind(1)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16)[:, None]


def mean_luma(images: Tensor) -> Tensor:
    """(G, 3, P) uint8 -> (G, 1, 1) int64: mean of the luma, halves rounded up."""
    pixels = images.shape[2]
    return (2 * luma(images).sum(dim=2, keepdim=True) + pixels) // (2 * pixels)


def smooth(images: Tensor) -> Tensor:
    """(G, 3, P) uint8 -> int64: ImageFilter.SMOOTH (3 x 3, centre 5, sum 13), borders copied."""
    count, channels, pixels = images.shape
    side = round(pixels**0.5)
    grid = images.view(count, channels, side, side).int()
    rows = grid[:, :, :-2] + grid[:, :, 1:-1] + grid[:, :, 2:]
    boxes = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smoothed = grid.clone()
    smoothed[:, :, 1:-1, 1:-1] = (2 * (boxes + 4 * grid[:, :, 1:-1, 1:-1]) + 13) // 26
    return smoothed.flatten(2).long()


def posterize(images: Tensor, level: Tensor) -> Tensor:
    """Keep the highest 4 - int(0.4 level) bits."""
    dropped = 4 + level * 4 // 10
    mask = (0xFF << dropped & 0xFF).to(torch.uint8)
    return images & mask[:, None, None]


def solarize(images: Tensor, level: Tensor) -> Tensor:
    """Invert all values from 256 - int(25.6 level) upwards."""
    threshold = 256 - level * 256 // 10
    return torch.where(images.long() < threshold[:, None, None], images, 255 - images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch every channel to 0..255; a channel of one value stays as it is."""
    low = images.amin(dim=2, keepdim=True).double()
    span = images.amax(dim=2, keepdim=True).double() - low
    # torch turns 255.0 / span into a reciprocal and a product, which rounds differently.
    scale = torch.full_like(span, 255.0) / span.clamp_min(1)
    stretched = (images.double() * scale + (-low * scale)).trunc().clamp_(0, 255)
    return torch.where(span > 0, stretched, images.double()).to(torch.uint8)


def equalize(images: Tensor) -> Tensor:
    """Flatten the histogram of every channel as ImageOps.equalize does."""
    values = images.long()
    count, channels, pixels = values.shape
    histogram = values.new_zeros(count, channels, 256)
    histogram.scatter_add_(2, values, torch.ones_like(values))
    last = values.amax(dim=2, keepdim=True)
    step = (pixels - histogram.gather(2, last)) // 255  # (G, 3, 1)
    before = histogram.cumsum(2) - histogram
    table = ((step // 2 + before) // step.clamp_min(1)).clamp_(max=255)
    return torch.where(step > 0, table.gather(2, values), values).to(torch.uint8)
