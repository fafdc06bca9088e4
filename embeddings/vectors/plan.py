"""What an encoder is asked for, and what it says before it starts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Advance = Callable[[float], None]  # told how many units of the work were done


@dataclass(frozen=True, kw_only=True)
class Request:
    """How the user wants the images encoded.

    Attributes:
        device: where to compute.
        argument: what follows the encoder's name and a colon; empty without.
        weights: the user's file of pretrained weights.
        epochs: of training; None = as many as the encoder thinks right.
        seed: of everything random.
        offline: never download.
    """

    device: torch.device
    argument: str = ""
    weights: Path | None = None
    epochs: int | None = None
    seed: int = 0
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An encoder that is ready to run on the images of one data set.

    Attributes:
        width: D, the number of features.
        run: does the work; returns (N, D) float32.
        total: units of the work, all of which `run` reports.
        note: said before the work; may be empty.
        parameters: for the record, JSON-able.
    """

    width: int
    run: Callable[[Advance], npt.NDArray[np.float32]]
    total: float
    note: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
