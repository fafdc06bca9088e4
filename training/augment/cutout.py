"""Cutout: rectangles of one colour (DeVries and Taylor 2017), as FixMatch's codes place them.

A box is (4,) int64: top, left, bottom, right; the last two are exclusive.
"""

import math

import torch
from torch import Tensor


def centred_boxes(centres: Tensor, reach: Tensor | int) -> Tensor:
    """Squares from `reach` before a centre to `reach` after it, exclusive.

    Args:
        centres: (B, 2) int64, row and column.
        reach: (B, 1) int64, or one for all.
    Returns:
        (B, 4) boxes, not clipped.
    """
    return torch.cat([centres - reach, centres + reach], dim=1)


def cornered_boxes(corners: Tensor, sizes: Tensor, side: int) -> Tensor:
    """Boxes as kekmodel and USB draw them: `ImageDraw.rectangle`, last row and column included.

    Half the size is taken off the drawn point and all of the size put on after, so that boxes are
    as large as `sizes` and one more, unless they are cut at the right or at the bottom.

    Args:
        corners: (B, 2) float64, row and column of the drawn point.
        sizes: (B, 1) float64, in pixels.
        side: H = W in pixels.
    Returns:
        (B, 4) boxes.
    """
    first = (corners - sizes / 2).clamp_min(0).floor()
    last = (first + sizes).clamp_max(side).floor()
    return torch.cat([first, last + 1], dim=1).long()


def covered(boxes: Tensor, side: int) -> Tensor:
    """(B, 4) boxes -> (B, side * side) bool: what they cover."""
    axis = torch.arange(side, device=boxes.device)
    top, left, bottom, right = boxes[:, :, None].unbind(1)  # (B, 1) each
    rows = (axis >= top) & (axis < bottom)
    columns = (axis >= left) & (axis < right)
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)


def paint(pixels: Tensor, boxes: Tensor, colour: Tensor) -> Tensor:
    """Paint (B, 3, P) uint8 inside (B, 4) boxes in a (3, 1) uint8 colour; new memory."""
    side = math.isqrt(pixels.shape[2])
    return torch.where(covered(boxes, side)[:, None], colour, pixels)
