"""Pillow's geometry and blending as look-up tables, made by Pillow itself.

Levels are the integers 1..9, so every geometric operation is one of a few gather maps and every
enhancement one of nine 256 x 256 tables; the training device only looks up.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LEVELS = range(1, 10)
SIGNS = (1, -1)

Affine = tuple[float, float, float, float, float, float]
_Shape = Callable[[int, int, int], Affine]  # level, sign, side -> output-to-input coefficients


def _translation(level: int, side: int) -> int:
    return level * side // 32  # the reference's 1..9 pixels are meant for a side of 32


_AFFINE: dict[str, _Shape] = {
    "shear_x": lambda level, sign, side: (1, sign * (level * 0.3 / 10), 0, 0, 1, 0),
    "shear_y": lambda level, sign, side: (1, 0, 0, sign * (level * 0.3 / 10), 1, 0),
    "translate_x": lambda level, sign, side: (1, 0, sign * _translation(level, side), 0, 1, 0),
    "translate_y": lambda level, sign, side: (1, 0, 0, 0, 1, sign * _translation(level, side)),
}
GEOMETRY = ("rotate", *_AFFINE)
ENHANCEMENTS = ("brightness", "color", "contrast", "sharpness")


def geometric(image: Image.Image, op: str, level: int, sign: int) -> Image.Image:
    """One geometric operation of the reference's RandAugment on a square Pillow image."""
    if op == "rotate":
        return image.rotate(sign * (level * 30 // 10))
    coefficients = _AFFINE[op](level, sign, image.width)
    return image.transform(image.size, Image.Transform.AFFINE, coefficients)


def enhancement_factor(level: int) -> float:
    """0.28 .. 1.72 for levels 1..9; 1 would leave the image as it is."""
    return level * 1.8 / 10 + 0.1


def gather_maps(side: int) -> Tensor:
    """(90, side * side) int64: source position of every pixel, -1 where Pillow fills.

    Row `(geometry * 9 + level - 1) * 2 + (sign < 0)`, geometry in the order of `GEOMETRY`.
    """
    positions = np.arange(1, side * side + 1, dtype=np.int32).reshape(side, side)
    image = Image.fromarray(positions)  # mode "I"; Pillow fills with 0
    maps = [
        np.asarray(geometric(image, op, level, sign))
        for op in GEOMETRY
        for level in LEVELS
        for sign in SIGNS
    ]
    return torch.from_numpy(np.stack(maps).reshape(len(maps), -1).astype(np.int64) - 1)


def blend_table() -> Tensor:
    """(9 * 256 * 256,) uint8: `Image.blend(degenerate, value, factor)` at [level - 1, d, v]."""
    grey = np.arange(256, dtype=np.uint8)
    degenerate = Image.fromarray(np.repeat(grey[:, None], 256, axis=1))
    value = Image.fromarray(np.repeat(grey[None], 256, axis=0))
    tables = [
        np.asarray(Image.blend(degenerate, value, enhancement_factor(level))) for level in LEVELS
    ]
    return torch.from_numpy(np.stack(tables).reshape(-1))
