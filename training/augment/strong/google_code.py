"""`google-code`: RandAugment and cutout as FixMatch's reference code does them, Pillow's bits."""

import torch

from fmsel.training.augment.randaugment import RandAugment


def make(side: int, device: torch.device) -> RandAugment:
    return RandAugment(side, device)
