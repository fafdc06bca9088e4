"""Train one network of the ensemble, then predict its held-out images."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmsel.datasets import ImageDataset
from fmsel.metrics.evidence.network.recipe import Recipe
from fmsel.metrics.evidence.network.store import NetworkOutputs
from fmsel.training.augment.weak import to_float, weak_augment
from fmsel.training.engine.device import Precision, autocast
from fmsel.training.engine.optim import sgd
from fmsel.training.networks.build import build_network

EVAL_BATCH = 500


def train_network(
    data: ImageDataset,
    *,
    held_out: npt.NDArray[np.bool_],
    recipe: Recipe,
    seed: int,
    device: torch.device,
    precision: Precision,
    advance: Callable[[int], None],
) -> NetworkOutputs:
    """Train on the images that are not held out.

    Args:
        held_out: (N,) bool, K of them true.
        seed: of initialisation, order and augmentation.
        advance: told the number of images handled, `images_handled` in all.
    """
    start = time.perf_counter()
    rng = torch.Generator().manual_seed(seed)
    images = torch.tensor(data.images, device=device).permute(0, 3, 1, 2)
    labels = torch.tensor(data.labels, device=device)
    train, test = (torch.tensor(np.flatnonzero(m), device=device) for m in (~held_out, held_out))
    model = build_network(
        recipe.arch,
        n_classes=data.n_classes,
        image_side=data.images.shape[1],
        bn_momentum=0.1,
        seed=seed,
    ).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser, schedule = _optimiser(model, recipe, len(train))
    policy = replace(data.weak, shift=round(data.weak.shift * recipe.shift_share))
    training = torch.zeros(len(train), device=device)
    for _ in range(recipe.epochs):
        model.train()
        order = torch.randperm(len(train), generator=rng).to(device)
        for batch in torch.split(order, recipe.batch):
            chosen = train[batch]
            views = to_float(weak_augment(images[chosen], policy, rng))
            loss, probability = _loss(model, views, labels[chosen], recipe, precision)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            training[batch] += probability / recipe.epochs
            advance(len(batch))
    heldout = _predict(model, images, test, precision, advance)
    if data.weak.flip:
        heldout = (heldout + _predict(model, images, test, precision, advance, mirrored=True)) / 2
    return NetworkOutputs(
        heldout=heldout.cpu().numpy(),
        training_mean=training.cpu().numpy(),
        seconds=time.perf_counter() - start,
    )


def images_handled(data: ImageDataset, held_out: int, recipe: Recipe) -> int:
    """What `train_network` tells `advance` in all, with `held_out` = K images held out."""
    return (len(data) - held_out) * recipe.epochs + held_out * (1 + data.weak.flip)


def _optimiser(
    model: nn.Module, recipe: Recipe, count: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimiser = sgd(
        model, lr=recipe.peak_lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    steps = recipe.epochs * -(-count // recipe.batch)
    rise = max(1.0, recipe.warmup * steps)

    def factor(step: int) -> float:
        return min((step + 1) / rise, max(0.0, (steps - step) / (steps - rise + 1)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def _loss(
    model: nn.Module, views: Tensor, labels: Tensor, recipe: Recipe, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Smoothed mean cross-entropy, and each image's probability of its given label."""
    views = views.contiguous(memory_format=torch.channels_last)
    with autocast(views.device, precision):
        logits = model(views)
    logits = logits.float()
    loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    probability = logits.detach().softmax(dim=1).gather(1, labels[:, None])[:, 0]
    return loss, probability


@torch.inference_mode()
def _predict(
    model: nn.Module,
    images: Tensor,
    indices: Tensor,
    precision: Precision,
    advance: Callable[[int], None],
    mirrored: bool = False,
) -> Tensor:
    """(K, C) float32 softmax on the images (or their mirror images), in evaluation mode."""
    model.eval()
    rows = []
    for batch in torch.split(indices, EVAL_BATCH):
        pixels = images[batch].flip(3) if mirrored else images[batch]
        views = to_float(pixels).contiguous(memory_format=torch.channels_last)
        with autocast(images.device, precision):
            logits = model(views)
        rows.append(logits.float().softmax(dim=1))
        advance(len(batch))
    return torch.cat(rows)
