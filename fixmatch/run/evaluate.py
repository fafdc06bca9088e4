"""Accuracy of the live and of the averaged network, and classes that the latter gives images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fmsel.fixmatch.step import Learner
from fmsel.training.augment.weak import to_float
from fmsel.training.engine.device import autocast

BATCH = 500  # images at a time in each process


@dataclass(frozen=True)
class Accuracy:
    """Shares of right predictions, in [0, 1]."""

    ema: float
    live: float


@torch.no_grad()
def evaluate(
    learner: Learner, images: Tensor, labels: Tensor, stopped: Callable[[], bool]
) -> Accuracy | None:
    """Evaluate in batches; None if `stopped` turned true on the way.

    Args:
        learner: its averaged weights use the live batch norm statistics, as in the reference.
        images: (T, 3, H, W) uint8 on the device, T >= 1.
        labels: (T,) int64 on the device.
        stopped: asked before every batch, equally often in every process.
    """
    learner.model.eval()
    right = torch.zeros(2, dtype=torch.int64, device=images.device)
    world, count = learner.world, BATCH * learner.world.size
    for pixels, truth in zip(torch.split(images, count), torch.split(labels, count), strict=True):
        if stopped():
            return None
        batch = to_float(world.share(pixels)).contiguous(memory_format=torch.channels_last)
        with autocast(learner.device, learner.precision):
            both = torch.stack([learner.ema.forward(learner.model, batch), learner.model(batch)])
        right += (both.argmax(dim=2) == world.share(truth)).sum(dim=1)
    world.add_up([right])
    ema, live = (right.double() / len(labels)).tolist()
    return Accuracy(ema=ema, live=live)


@torch.no_grad()
def predicted(learner: Learner, images: Tensor, stopped: Callable[[], bool]) -> Tensor | None:
    """(N,) int64 classes by the averaged network; None if `stopped` turned true on the way.

    Args:
        learner, stopped: as for `evaluate`.
        images: (N, 3, H, W) uint8 on the device.
    """
    learner.model.eval()
    classes = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    world, every = learner.world, torch.arange(len(images), device=images.device)
    for places in torch.split(every, BATCH * world.size):
        if stopped():
            return None
        mine = world.share(places)
        batch = to_float(images[mine]).contiguous(memory_format=torch.channels_last)
        with autocast(learner.device, learner.precision):
            classes[mine] = learner.ema.forward(learner.model, batch).argmax(dim=1)
    world.add_up([classes])  # in every process those of the others are 0
    return classes
