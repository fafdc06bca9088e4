"""Exponential moving average of a network's weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Ema:
    """Average of the trainable parameters; batch norm's running statistics stay the live ones.

    This is what the reference code evaluates (google-research/fixmatch: the average covers
    trainable variables only, starts at their initial values and is not debiased).

    Args:
        model: the network to follow.
        decay: share of the old average kept at each update, in [0, 1).
        ramp: use `min(decay, (1 + t) / (10 + t))` at update t = 0, 1, …, so that short schedules
            forget their start.
    """

    def __init__(self, model: nn.Module, decay: float, ramp: bool = False) -> None:
        self.decay = decay
        self.ramp = ramp
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}

    def decay_at(self, step: int) -> float:
        """The decay used by update number `step` = 0, 1, …"""
        return min(self.decay, (1 + step) / (10 + step)) if self.ramp else self.decay

    @torch.no_grad()
    def update(self, model: nn.Module, decay: float | Tensor) -> None:
        """`average = decay * average + (1 - decay) * parameters`.

        Args:
            model: the network.
            decay: `decay_at(step)`, or a 0-dimensional tensor of it on the device.
        """
        average, live = list(self.average.values()), [p.detach() for p in model.parameters()]
        torch._foreach_mul_(average, decay)
        torch._foreach_add_(average, torch._foreach_mul(live, 1 - decay))

    def forward(self, model: nn.Module, images: Tensor) -> Tensor:
        """The averaged network's logits, (B, C); `model` lends its buffers and its mode."""
        logits: Tensor = functional_call(model, self.average, (images,))
        return logits

    def load(self, average: Mapping[str, Tensor]) -> None:
        """Take over a saved `average`."""
        for name, tensor in self.average.items():
            tensor.copy_(average[name])
