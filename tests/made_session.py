"""A run between its steps on forty images of noise, for tests of how steps are run."""

import torch

from fmsel.datasets import WeakAugment
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run.inputs import Inputs
from fmsel.fixmatch.run.session import Session
from fmsel.training.engine.device import Execution, Precision


def inputs(device: str, side: int = 8) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, side, side), generator=generator, dtype=torch.uint8)
    labels = torch.arange(40) % 3
    return Inputs(
        images=images.to(device),
        truth=labels.to(device),
        chosen=torch.arange(9, device=device),
        labels=labels[:9].to(device),
        test_images=images.to(device),
        test_labels=labels.to(device),
        n_classes=3,
    )


def made_session(
    device: str,
    execution: Execution,
    config: FixMatchConfig,
    *,
    supervised_only: bool = False,
    precision: Precision = "fp32",
    side: int = 8,
) -> Session:
    return Session(
        inputs(device, side),
        WeakAugment(flip=True, shift=1),
        config,
        seed=0,
        supervised_only=supervised_only,
        precision=precision,
        execution=execution,
    )
