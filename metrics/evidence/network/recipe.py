"""How a network of the scoring ensemble is trained: small on a CPU, a ResNet on a GPU."""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fmsel.datasets import ImageDataset

MIN_STEPS = 200  # a data set of a few hundred images gets more epochs, so that networks do learn


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyperparameters of one network of the ensemble (ours; short runs rank well when averaged)."""

    arch: str = "small-conv-32"
    epochs: int = 7
    batch: int = 128  # images per step
    peak_lr: float = 0.2  # SGD, one cycle: linear up over the first fifth, linear down to 0
    momentum: float = 0.9  # Nesterov
    weight_decay: float = 5e-4  # on kernels only
    warmup: float = 0.2  # share of the steps
    label_smoothing: float = 0.1
    shift_share: float = 0.5  # of the data set's weak shift: short runs underfit
    feature_scale: float = 1.0  # as `Network.feature_scale`

    def as_dict(self) -> dict[str, Any]:
        """For records and cache names; a scale of 1 is left out, for before it had no name."""
        values = asdict(self)
        return {k: v for k, v in values.items() if (k, v) != ("feature_scale", 1.0)}


def recipe_for(data: ImageDataset, device: torch.device, capacity: float = 1.0) -> Recipe:
    """The recipe for a data set: `small-conv-32` on a CPU, `resnet9-64` on a GPU.

    Small data sets get smaller batches and at least `MIN_STEPS` steps.

    Args:
        data: what will be trained on (a part of).
        device: where.
        capacity: times the usual number of channels.
    """
    gpu = device.type == "cuda"
    batch = min(256 if gpu else 128, max(16, len(data) // 16))
    # Twice as many epochs on a GPU are more accurate and rank worse: most images are then certain.
    epochs = max(4 if gpu else 7, ceil(MIN_STEPS * 2 * batch / len(data)))
    # Below 16 pixels the last stage of resnet9 is a single position, too few for batch norm.
    strong = gpu and data.images.shape[1] >= 16
    # The scale is that of Page 2018; at these rates a wide network without it learns badly.
    family, width, scale = ("resnet9", 64, 0.125) if strong else ("small-conv", 32, 1.0)
    return Recipe(
        arch=f"{family}-{round(width * capacity)}",
        epochs=epochs,
        batch=batch,
        feature_scale=scale,
    )


def learning_rates(recipe: Recipe, count: int) -> npt.NDArray[np.float64]:
    """The rate of every step, (epochs, steps an epoch), of training on `count` images."""
    steps = recipe.epochs * -(-count // recipe.batch)
    rise = max(1.0, recipe.warmup * steps)
    step = np.arange(steps)
    share = np.minimum((step + 1) / rise, np.maximum(0, (steps - step) / (steps - rise + 1)))
    return np.asarray(recipe.peak_lr * share.reshape(recipe.epochs, -1))
