"""How right the live and the averaged network are, and classes that the latter gives images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fmsel.fixmatch.step import Learner
from fmsel.training.augment.weak import to_float
from fmsel.training.engine.device import autocast

BATCH = 500  # images at a time in each process


@dataclass(frozen=True)
class Evaluation:
    """One look at the test part.

    Attributes:
        ema_accuracy, accuracy: of the averaged and the live network, shares in [0, 1].
        ema_loss: mean cross-entropy of the averaged network, nats.
        confusion: (C, C) int64 on the device, images by true class (rows) and by the class that the
            averaged network gives them.
    """

    ema_accuracy: float
    accuracy: float
    ema_loss: float
    confusion: Tensor


@torch.no_grad()
def evaluate(
    learner: Learner,
    images: Tensor,
    labels: Tensor,
    n_classes: int,
    stopped: Callable[[], bool],
) -> Evaluation | None:
    """Evaluate in batches; None if `stopped` turned true on the way.

    Args:
        learner: its averaged weights use the live batch norm statistics, as in the reference.
        images: (T, 3, H, W) uint8 on the device, T >= 1.
        labels: (T,) int64 on the device.
        n_classes: C.
        stopped: asked before every batch, equally often in every process.
    """
    learner.model.eval()
    right = torch.zeros(2, dtype=torch.int64, device=images.device)
    loss = torch.zeros((), dtype=torch.float64, device=images.device)
    cells = right.new_zeros(n_classes * n_classes)
    world, count = learner.world, BATCH * learner.world.size
    for pixels, truth in zip(torch.split(images, count), torch.split(labels, count), strict=True):
        if stopped():
            return None
        batch = to_float(world.share(pixels)).contiguous(memory_format=torch.channels_last)
        with autocast(learner.device, learner.precision):
            both = torch.stack([learner.ema.forward(learner.model, batch), learner.model(batch)])
        mine, given = world.share(truth), both.argmax(dim=2)  # (b,), (2, b)
        right += (given == mine).sum(dim=1)
        loss += F.cross_entropy(both[0].double(), mine, reduction="sum")
        cells.index_add_(0, n_classes * mine + given[0], torch.ones_like(mine))
    world.add_up([right, cells])
    world.add_up([loss])
    ema, live = (right.double() / len(labels)).tolist()
    return Evaluation(
        ema_accuracy=ema,
        accuracy=live,
        ema_loss=float(loss) / len(labels),
        confusion=cells.view(n_classes, n_classes),
    )


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
