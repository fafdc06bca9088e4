"""Running means over steps, updated in place."""

import torch
from torch import Tensor

DECAY = 0.999  # USB: ema_p of every config/classic_cv file; objax: ExponentialMovingAverage
WINDOW = 128  # ReMixMatch, section 3.1 and its code: dbuf; AdaMatch's code: buffer_size


def follow(average: Tensor, value: Tensor) -> None:
    """`average = DECAY * average + (1 - DECAY) * value`, in place; both of one shape."""
    average.lerp_(value, 1 - DECAY)


class RecentMean:
    """Mean over the last WINDOW steps; before the first, all of them count as uniform.

    Source: ReMixMatch's libml/layers.py, PMovingAverage.

    Attributes:
        steps: (WINDOW, C) float32, the oldest first.
    """

    def __init__(self, n_classes: int, device: torch.device) -> None:
        self.steps = torch.full((WINDOW, n_classes), 1 / n_classes, device=device)

    def add(self, value: Tensor) -> None:
        """Let (C,) float32 take the place of the oldest step."""
        self.steps.copy_(torch.cat([self.steps[1:], value[None]]))

    @property
    def mean(self) -> Tensor:
        """(C,) float32."""
        return self.steps.mean(dim=0)
