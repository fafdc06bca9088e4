"""`torchvision`: its RandAugment of Pillow images at the highest magnitude, without a cutout.

`torchvision.transforms.RandAugment(num_ops=2, magnitude=10, num_magnitude_bins=11,
interpolation=BILINEAR)`: two of 14 operations, always applied, each at its one largest amount, with
a random sign for geometry and enhancements. So posterize keeps 4 bits and solarize inverts
everything. Empty pixels stay black.
"""

import math

import torch

from fmsel.training.augment.geometry import bilinear
from fmsel.training.augment.randaugment import OPS, Policies, RandAugment, Recipe


def amount(op: str, sign: int, side: int) -> float:
    """The amount of an operation with sign 1 or -1."""
    match op:
        case "rotate":
            return sign * 30.0
        case "shear_x" | "shear_y":
            return sign * math.tan(math.atan(_single(0.3)))  # torchvision shears by an angle
        case "translate_x" | "translate_y":
            return -sign * int(_single(150.0 / 331.0 * side))  # torchvision: + is to the right
        case "brightness" | "color" | "contrast" | "sharpness":
            return 1.0 + sign * _single(0.9)
        case "posterize":
            return 4.0
    return 0.0


def make(side: int, device: torch.device) -> RandAugment:
    rows = [[amount(op, sign, side) for sign in (1, -1)] for op in OPS]
    table = torch.tensor(rows, dtype=torch.float64)  # (14, 2)

    def draw(count: int, side: int, generator: torch.Generator) -> Policies:
        ops = torch.randint(0, len(OPS), (count, 2), generator=generator)
        signs = torch.randint(0, 2, (count, 2), generator=generator)
        no_boxes = torch.zeros(count, 4, dtype=torch.int64)
        return Policies(ops, table[ops, signs], no_boxes)

    return RandAugment(side, device, Recipe(draw=draw, cutout=(0, 0, 0), move=bilinear))


def _single(value: float) -> float:
    """Rounded to float32, in which torchvision keeps magnitudes."""
    return float(torch.tensor(value, dtype=torch.float32))
