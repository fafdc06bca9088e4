"""`usb`: RandAugment of TorchSSL and USB: three operations, always applied, continuous amounts.

microsoft/Semi-supervised-learning, semilearn/datasets/augmentation/randaugment.py,
`RandAugment(3, 5)`, after crop and flip as in USB (TorchSSL crops and flips after it). The cutout's
size is uniform up to half the side, its colour RGB (125, 123, 114); empty pixels stay black. USB
draws the cutout's corner by `np.random.uniform(side)`, which is uniform between 1 and the side.
"""

import torch
from torch import Tensor

from fmsel.training.augment.cutout import cornered_boxes
from fmsel.training.augment.randaugment import OPS, Policies, RandAugment, Recipe

RANGES = {
    "rotate": (-30.0, 30.0),
    "shear_x": (-0.3, 0.3),
    "shear_y": (-0.3, 0.3),
    "translate_x": (-0.3, 0.3),  # of the side
    "translate_y": (-0.3, 0.3),
    "brightness": (0.05, 0.95),
    "color": (0.05, 0.95),
    "contrast": (0.05, 0.95),
    "sharpness": (0.05, 0.95),
    "posterize": (4.0, 8.0),
    "solarize": (0.0, 256.0),
}


def uniform_amounts(ops: Tensor, shares: Tensor, side: int) -> Tensor:
    """(B, 3) float64 amounts, at `shares` in [0, 1) of the ranges of (B, 3) operations."""
    low, high = torch.tensor([RANGES.get(op, (0, 0)) for op in OPS], dtype=torch.float64).T
    scale = torch.tensor([side if op.startswith("translate") else 1 for op in OPS])
    amounts = (low[ops] + (high - low)[ops] * shares) * scale[ops]
    return torch.where(ops == OPS.index("posterize"), amounts.floor(), amounts)


def draw(count: int, side: int, generator: torch.Generator) -> Policies:
    """Policies for `count` images."""

    def uniform(columns: int) -> Tensor:
        return torch.rand(count, columns, dtype=torch.float64, generator=generator)

    ops = torch.randint(0, len(OPS), (count, 3), generator=generator)
    amounts = uniform_amounts(ops, uniform(3), side)
    sizes = 0.5 * side * uniform(1)
    corners = side - (side - 1) * uniform(2)
    return Policies(ops, amounts, cornered_boxes(corners, sizes, side))


def make(side: int, device: torch.device) -> RandAugment:
    return RandAugment(side, device, Recipe(draw=draw, cutout=(125, 123, 114)))
