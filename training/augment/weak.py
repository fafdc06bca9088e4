"""Weak augmentation: flip, shift with reflection, crop; for a whole batch at once."""

import torch
from torch import Tensor

from fmsel.datasets import WeakAugment
from fmsel.errors import DataError


def weak_augment(images: Tensor, policy: WeakAugment, generator: torch.Generator) -> Tensor:
    """Flip with probability 0.5, reflect-pad, crop at a uniform offset (FixMatch, section 2.3).

    Args:
        images: (B, 3, H, W) uint8 on any device.
        policy: the data set's declared augmentation; `shift` in pixels, below H and W.
        generator: on the CPU, so that every device draws the same numbers.
    Returns:
        (B, 3, H, W) uint8, new memory.
    Raises:
        DataError: the shift is as large as the image.
    """
    check_shift(policy, min(images.shape[2:]))
    draws = draw_weak(len(images), policy, generator)
    return weak_view(images, draws.to(images.device, non_blocking=True))


def check_shift(policy: WeakAugment, side: int) -> None:
    """Raises DataError if `policy` shifts by as much as the shorter side of the images."""
    if policy.shift >= side:
        raise DataError(
            f"a weak shift of {policy.shift} pixels needs images larger than {side} x {side}"
        )


def draw_weak(count: int, policy: WeakAugment, generator: torch.Generator) -> Tensor:
    """(3, B) int64 on the CPU: rows down, columns to the right, and 1 for a mirrored image."""
    offsets = torch.randint(0, 2 * policy.shift + 1, (2, count), generator=generator)
    flips = torch.randint(0, 2, (1, count), generator=generator) * int(policy.flip)
    return torch.cat([offsets - policy.shift, flips])


def weak_view(images: Tensor, draws: Tensor) -> Tensor:
    """What `weak_augment` does, by draws of `draw_weak` on the images' device."""
    height, width = images.shape[2:]
    top, left, flips = draws
    rows = _reflected(top, height)  # (B, H)
    columns = _reflected(left, width)  # (B, W)
    columns = torch.where(flips.bool()[:, None], width - 1 - columns, columns)
    positions = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # (B, H W)
    gathered = images.flatten(2).gather(2, positions[:, None].expand(-1, images.shape[1], -1))
    return gathered.view_as(images)


def to_float(images: Tensor) -> Tensor:
    """uint8 in 0..255 -> float32 in [-1, 1]."""
    return images.float().mul_(2 / 255).sub_(1)


def _reflected(shift: Tensor, side: int) -> Tensor:
    """(B,) shifts -> (B, side) source positions, mirrored at the borders without repeating them."""
    positions = torch.arange(side, device=shift.device) + shift[:, None]
    return (side - 1) - ((side - 1) - positions.abs()).abs()
