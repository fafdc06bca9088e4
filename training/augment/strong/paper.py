"""`paper`: the ranges of the paper's appendix, as kekmodel/FixMatch-pytorch has them.

Sohn et al. 2020; kekmodel's dataset/randaugment.py, `RandAugmentMC(n=2, m=10)` with
`fixmatch_augment_pool`. As in the reference code, two operations an image, each applied with
probability 0.5 at a level of 1..9, then always a cutout; but enhancements only weaken (0.14..0.86),
posterize keeps 4..7 bits, translations reach a quarter of the side, empty pixels stay black and the
cutout is RGB 127.
"""

import torch

from fmsel.training.augment.cutout import cornered_boxes
from fmsel.training.augment.randaugment import (
    Policies,
    RandAugment,
    Recipe,
    amount_table,
    draw_levels,
)
from fmsel.training.augment.strong import google_code


def amount(op: str, level: int, side: int) -> float:
    """How strong an operation is at a level of 1..9; the reference code's where not said."""
    match op:
        case "translate_x" | "translate_y":
            return int(level * 0.3 / 10 * side)
        case "brightness" | "color" | "contrast" | "sharpness":
            return level * 0.9 / 10 + 0.05
        case "posterize":
            return 4 + level * 4 // 10
    return google_code.amount(op, level, side)


def make(side: int, device: torch.device) -> RandAugment:
    table = amount_table(amount, side)

    def draw(count: int, side: int, generator: torch.Generator) -> Policies:
        ops, amounts = draw_levels(table, count, generator)
        corners = torch.rand(count, 2, dtype=torch.float64, generator=generator) * side
        sizes = torch.full((count, 1), side // 2, dtype=torch.float64)
        return Policies(ops, amounts, cornered_boxes(corners, sizes, side))

    return RandAugment(side, device, Recipe(draw=draw, cutout=(127, 127, 127)))
