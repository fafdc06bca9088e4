"""Train one network on some images of a data set."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmsel.datasets import ImageDataset
from fmsel.metrics.evidence.network.recipe import Recipe, learning_rates
from fmsel.metrics.evidence.network.weights import load_weights
from fmsel.training.augment.weak import to_float, weak_augment
from fmsel.training.engine.device import Precision, autocast
from fmsel.training.engine.optim import sgd
from fmsel.training.networks.build import build_network


class Observe(Protocol):
    """Told of every training batch, before the step that it leads to."""

    def __call__(self, indices: Tensor, logits: Tensor) -> None:
        """`indices` (B,) int64, global; `logits` (B, C) float32 of the augmented images."""


def _ignore_batch(indices: Tensor, logits: Tensor) -> None:
    """Record nothing of a batch."""


def _ignore_epoch(epoch: int, model: nn.Module) -> None:
    """Record nothing of an epoch."""


def train_network(
    data: ImageDataset,
    *,
    train_on: npt.NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    device: torch.device,
    precision: Precision,
    advance: Callable[[int], None],
    start: Mapping[str, npt.NDArray[np.generic]] | None = None,
    observe: Observe = _ignore_batch,
    after_epoch: Callable[[int, nn.Module], None] = _ignore_epoch,
) -> nn.Module:
    """Train a network; equal arguments give equal weights on a CPU.

    Args:
        data: images and labels; every image trained on has a label.
        train_on: (K,) global indices of the images trained on.
        recipe: the network and its optimisation.
        seed: of initialisation, order and augmentation.
        device, precision: where, and the precision of convolutions.
        advance: told the number of images trained on, `K * recipe.epochs` in all.
        start: weights to go on from (as `weights_of` gives them); None = fresh ones.
        observe: told of every batch.
        after_epoch: called with the epoch's number (0-based) and the network, which it may put in
            evaluation mode.
    Returns:
        The network, in evaluation mode.
    """
    rng = torch.Generator().manual_seed(seed)
    images = torch.tensor(data.images, device=device).permute(0, 3, 1, 2)
    labels = torch.tensor(data.labels, device=device)
    chosen = torch.tensor(train_on, device=device)
    model = new_network(data, recipe, seed, device)
    if start is not None:
        load_weights(model, start)
    optimiser, schedule = _optimiser(model, recipe, len(chosen))
    policy = replace(data.weak, shift=round(data.weak.shift * recipe.shift_share))
    for epoch in range(recipe.epochs):
        model.train()
        order = torch.randperm(len(chosen), generator=rng).to(device)
        for batch in torch.split(chosen[order], recipe.batch):
            views = to_float(weak_augment(images[batch], policy, rng))
            logits = forward(model, views, precision)
            loss = F.cross_entropy(logits, labels[batch], label_smoothing=recipe.label_smoothing)
            observe(batch, logits.detach())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            advance(len(batch))
        after_epoch(epoch, model)
    return model.eval()


def new_network(data: ImageDataset, recipe: Recipe, seed: int, device: torch.device) -> nn.Module:
    """A freshly initialised network of the recipe for the images of `data`, on `device`."""
    network = build_network(
        recipe.arch,
        n_classes=data.n_classes,
        image_side=data.images.shape[1],
        bn_momentum=0.1,
        seed=seed,
    )
    network.feature_scale = recipe.feature_scale
    placed: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def forward(model: nn.Module, views: Tensor, precision: Precision) -> Tensor:
    """(B, 3, H, W) float in [-1, 1] -> (B, C) float32 logits."""
    views = views.contiguous(memory_format=torch.channels_last)
    with autocast(views.device, precision):
        logits: Tensor = model(views)
    return logits.float()


def _optimiser(
    model: nn.Module, recipe: Recipe, count: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimiser = sgd(
        model, lr=recipe.peak_lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    # The scheduler looks one step past the end.
    rates = np.append(learning_rates(recipe, count).ravel(), 0.0) / recipe.peak_lr
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: float(rates[step]))
