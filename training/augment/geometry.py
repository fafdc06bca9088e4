"""Pillow's affine transformations of batches of square uint8 images, bit for bit.

Pillow samples the nearest pixel with positions in 16.16 fixed point (Geometry.c, `affine_fixed`)
and interpolates in double precision, cutting off the fraction (`bilinear_filter32RGB`); both are
repeated here on the device. A pixel whose source lies outside becomes 0 in every channel.
"""

import math

import torch
from torch import Tensor

GEOMETRY = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


def affine(amounts: Tensor, side: int) -> Tensor:
    """Output-to-input coefficients of single operations.

    Args:
        amounts: (G, 5) float64, columns as in `GEOMETRY`: degrees counter-clockwise, shears as
            fractions, translations in pixels; at most one of each row is not 0.
        side: H = W in pixels.
    Returns:
        (G, 6) float64 a..f: output (x, y) shows input (a x + b y + c, d x + e y + f). Translations
        are rounded to whole pixels, as nearest sampling does.
    """
    degrees, shear_x, shear_y, shift_x, shift_y = amounts.unbind(1)
    radians = -degrees.remainder(360) * (math.pi / 180)  # as Pillow, to the last bit
    cos, sin = _to_15_decimals(radians.cos()), _to_15_decimals(radians.sin())
    centre = side / 2
    moved_x = cos * -centre + sin * -centre + centre
    moved_y = -sin * -centre + cos * -centre + centre
    across = moved_x + (shift_x + 0.5).floor()
    down = moved_y + (shift_y + 0.5).floor()
    return torch.stack([cos, sin + shear_x, across, -sin + shear_y, cos, down], dim=1)


def single(op: str, amount: Tensor) -> Tensor:
    """(G,) amounts of one operation -> (G, 5) for `affine`."""
    amounts = amount.new_zeros(len(amount), len(GEOMETRY))
    amounts[:, GEOMETRY.index(op)] = amount
    return amounts


def nearest(pixels: Tensor, coefficients: Tensor) -> Tensor:
    """Transform (G, channels, P) uint8 by (G, 6) coefficients, taking the nearest pixel."""
    side = math.isqrt(pixels.shape[2])
    a, b, c, d, e, f = coefficients[:, :, None, None].unbind(1)
    axis = torch.arange(side, device=pixels.device)
    row, column = axis[:, None], axis[None, :]

    def fixed(value: Tensor) -> Tensor:
        return (value * 65536 + 0.5).floor().long()

    def source(along: Tensor, across: Tensor, start: Tensor) -> Tensor:
        start = fixed(start + along * 0.5 + across * 0.5)
        return start + fixed(along) * column + fixed(across) * row >> 16  # (G, side, side)

    x, y = source(a, b, c), source(d, e, f)
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    sources = (y * side + x).mul_(inside).flatten(1)[:, None]
    moved = pixels.gather(2, sources.expand(-1, pixels.shape[1], -1))
    return moved.mul_(inside.flatten(1)[:, None])


def bilinear(pixels: Tensor, coefficients: Tensor) -> Tensor:
    """Transform (G, channels, P) uint8 by (G, 6) coefficients, interpolating."""
    side = math.isqrt(pixels.shape[2])
    a, b, c, d, e, f = coefficients[:, :, None, None].unbind(1)
    middle = torch.arange(side, device=pixels.device) + 0.5
    row, column = middle.double()[:, None], middle.double()[None, :]
    x, y = a * column + b * row + c, d * column + e * row + f  # (G, side, side)
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    x, y = x - 0.5, y - 0.5
    left, top = x.floor(), y.floor()

    def corner(down: int, right: int) -> Tensor:
        rows = (top.long() + down).clamp_(0, side - 1)
        columns = (left.long() + right).clamp_(0, side - 1)
        sources = (rows * side + columns).flatten(1)[:, None]
        return pixels.gather(2, sources.expand(-1, pixels.shape[1], -1)).double()

    def between(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
        return start + (end - start) * share.flatten(1)[:, None]

    upper = between(corner(0, 0), corner(0, 1), x - left)
    lower = between(corner(1, 0), corner(1, 1), x - left)
    blended = between(upper, lower, y - top).to(torch.uint8)
    return blended.mul_(inside.flatten(1)[:, None])


def _to_15_decimals(values: Tensor) -> Tensor:
    return (values * 1e15).round() / 1e15  # as `Image.rotate` rounds
