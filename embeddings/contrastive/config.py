"""How `simclr` is trained: TypiClust's recipe on a GPU, a short one on a CPU."""

from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import Any

import torch

from fmsel.datasets import ImageDataset
from fmsel.embeddings.contrastive.views import ViewConfig
from fmsel.errors import DataError, OptionError

MIN_STEPS = 1_000  # small data sets get more epochs, so that networks do learn
MIN_SIDE = 16  # pixels; below, the last stage of a deep network is a single position


@dataclass(frozen=True, kw_only=True)
class SimclrConfig:
    """Hyperparameters; the defaults are those with which TypiClust made its features.

    avihu111/TypiClust, scan/configs/pretext/simclr_cifar10.yml, after SCAN's. They differ from the
    paper's for CIFAR-10 (appendix B.9: LARS, batches of 256 to 4,096, temperature 0.5) and here
    from TypiClust's by Nesterov momentum, by a decay of kernels only, and by the warm-up.
    """

    arch: str = "resnet18"  # or a name of `build_network`
    epochs: int = 500
    batch: int = 512  # images a step; each is seen twice
    temperature: float = 0.1
    lr: float = 0.4  # for batches of 512, and in proportion for smaller ones; cosine down to 0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: float = 0.02  # share of the steps; ten epochs of 500, as in the paper
    projection: int = 128  # outputs of the projection head, which is thrown away
    views: ViewConfig = field(default_factory=ViewConfig)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


GPU = SimclrConfig()
CPU = SimclrConfig(arch="small-conv-32", epochs=30, batch=256, warmup=0.1)


def config_for(data: ImageDataset, device: torch.device, epochs: int | None = None) -> SimclrConfig:
    """The configuration for a data set on a device.

    Args:
        data: images; they are mirrored where its weak augmentation mirrors them.
        device: where it is trained.
        epochs: None = as many as the configuration has, and at least `MIN_STEPS` steps.
    Raises:
        OptionError: no epochs.
        DataError: fewer than two images.
    """
    if epochs is not None and epochs < 1:
        raise OptionError(f"--epochs must be at least 1, got {epochs}")
    if len(data) < 2:
        raise DataError(f"simclr tells images apart and needs at least two; {data.name} has fewer")
    base = GPU if device.type == "cuda" and data.images.shape[1] >= MIN_SIDE else CPU
    batch = min(base.batch, len(data))
    return replace(
        base,
        batch=batch,
        epochs=epochs or max(base.epochs, ceil(MIN_STEPS / (len(data) // batch))),
        views=replace(base.views, flip=data.weak.flip),
    )
