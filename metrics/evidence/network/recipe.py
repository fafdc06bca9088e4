"""How a network of the scoring ensemble is trained: small on a CPU, a ResNet on a GPU."""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import torch

from fmsel.datasets import ImageDataset

MIN_STEPS = 200  # a data set of a few hundred images gets more epochs, so that networks do learn


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyperparameters of one network of the ensemble (ours; short runs rank well when averaged)."""

    arch: str = "small-conv-32"
    epochs: int = 5
    batch: int = 128  # images per step
    peak_lr: float = 0.2  # SGD, one cycle: linear up over the first fifth, linear down to 0
    momentum: float = 0.9  # Nesterov
    weight_decay: float = 5e-4  # on kernels only
    warmup: float = 0.2  # share of the steps

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def recipe_for(data: ImageDataset, device: torch.device) -> Recipe:
    """The recipe for a data set: `small-conv-32` on a CPU, `resnet9-64` on a GPU.

    Small data sets get smaller batches and at least `MIN_STEPS` steps.
    """
    batch = min(128, max(16, len(data) // 16))
    steps_per_epoch = max(1, len(data) // 2 // batch)
    epochs = max(5, ceil(MIN_STEPS / steps_per_epoch))
    if device.type == "cuda":
        return Recipe(arch="resnet9-64", epochs=max(8, epochs), batch=min(512, 4 * batch))
    return Recipe(epochs=epochs, batch=batch)
