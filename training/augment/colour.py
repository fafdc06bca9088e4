"""Pillow's colour operations on batches of uint8 images, bit for bit.

Every function takes (G, 3, P) uint8, P = side * side pixels in row order, and returns the same
unless it says otherwise; amounts are (G,) float64. Everything but AutoContrast and `blend` is
integer arithmetic. `blend` rounds after the product and after the sum, as Pillow does on x86-64;
a Pillow compiled to round only once (ARM) gives another value for up to 0.4 % of all pairs.
"""

import torch
from torch import Tensor

from fmsel.training.engine.counts import smaller_than_each


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
    grid = _grid(images)
    smoothed = grid.clone()
    inner = grid[:, :, 1:-1, 1:-1]
    smoothed[:, :, 1:-1, 1:-1] = (2 * (_box_sums(grid, 3) + 4 * inner) + 13) // 26
    return smoothed.flatten(2).long()


def blur(images: Tensor) -> Tensor:
    """(G, 3, P) uint8 -> int64: ImageFilter.BLUR (the rim of 5 x 5, sum 16), borders copied."""
    grid = _grid(images)
    blurred = grid.clone()
    rims = _box_sums(grid, 5) - _box_sums(grid, 3)[:, :, 1:-1, 1:-1]
    blurred[:, :, 2:-2, 2:-2] = (rims + 8) // 16
    return blurred.flatten(2).long()


def invert(images: Tensor) -> Tensor:
    """255 - value."""
    return 255 - images


def blend(start: Tensor, end: Tensor, factor: Tensor) -> Tensor:
    """`Image.blend(start, end, factor)`; either may be int64 in 0..255 and of one channel."""
    low = start.float()
    blended = low + factor.float()[:, None, None] * (end.float() - low)
    return blended.clamp_(0, 255).to(torch.uint8)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest 1..8 bits."""
    mask = (0xFF << (8 - bits.long()) & 0xFF).to(torch.uint8)
    return images & mask[:, None, None]


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert all values from the threshold, in 0..256, upwards."""
    return torch.where(images < threshold[:, None, None], images, 255 - images)


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
    before = smaller_than_each(values, 256)
    step = before.gather(2, values.amax(dim=2, keepdim=True)) // 255  # (G, 3, 1)
    table = ((step // 2 + before) // step.clamp_min(1)).clamp_(max=255)
    return torch.where(step > 0, table.gather(2, values), values).to(torch.uint8)


def _grid(images: Tensor) -> Tensor:
    """(G, 3, P) uint8 -> (G, 3, side, side) int32."""
    count, channels, pixels = images.shape
    side = round(pixels**0.5)
    return images.view(count, channels, side, side).int()


def _box_sums(grid: Tensor, width: int) -> Tensor:
    """(G, 3, side, side) -> (G, 3, left, left): sums of all boxes of width x width."""
    left = grid.shape[3] - width + 1
    rows = torch.stack([grid[:, :, k : k + left] for k in range(width)]).sum(0, dtype=torch.int32)
    return torch.stack([rows[..., k : k + left] for k in range(width)]).sum(0, dtype=torch.int32)
