"""`google-code`: RandAugment and cutout as FixMatch's reference code does them.

Two operations an image, each applied with probability 0.5 at a level of 1..9, then always a cutout
(google-research/fixmatch, libml/augment.py `AugmentPoolRAMC` and
third_party/auto_augment/augmentations.py). Pixels that a geometric operation leaves empty become
grey (0 in [-1, 1]) at the end, unless an operation that drops the alpha channel made them opaque in
between. Lengths in pixels are those of a side of 32 and scale with the image.
"""

import torch

from fmsel.training.augment.cutout import centred_boxes
from fmsel.training.augment.randaugment import (
    Policies,
    RandAugment,
    Recipe,
    amount_table,
    draw_levels,
)


def amount(op: str, level: int, side: int) -> float:
    """How strong an operation is at a level of 1..9."""
    match op:
        case "rotate":
            return level * 30 // 10
        case "shear_x" | "shear_y":
            return level * 0.3 / 10
        case "translate_x" | "translate_y":
            return level * side // 32
        case "brightness" | "color" | "contrast" | "sharpness":
            return level * 1.8 / 10 + 0.1
        case "posterize":
            return 4 - level * 4 // 10
        case "solarize":
            return 256 - level * 256 // 10
    return 0.0


def make(side: int, device: torch.device) -> RandAugment:
    table = amount_table(amount, side)

    def draw(count: int, side: int, generator: torch.Generator) -> Policies:
        ops, amounts = draw_levels(table, count, generator)
        centres = torch.randint(0, side, (count, 2), generator=generator)
        return Policies(ops, amounts, centred_boxes(centres, side // 4))

    return RandAugment(side, device, Recipe(draw=draw, cutout=None))
