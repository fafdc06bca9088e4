"""Stochastic gradient descent as FixMatch uses it."""

import torch
from torch import nn

KERNELS = nn.Conv2d | nn.Linear  # the layers whose weights decay


def sgd(model: nn.Module, *, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """Nesterov SGD; weight decay acts on convolution and linear kernels only.

    Biases and batch norm are never decayed (google-research/fixmatch decays the variables called
    `kernel`). The decay is coupled: `weight_decay * w` joins the gradient before the momentum.
    """
    kernels = [m.weight for m in model.modules() if isinstance(m, KERNELS)]
    decayed = {id(weight) for weight in kernels}
    others = [p for p in model.parameters() if id(p) not in decayed]
    groups = [
        {"params": kernels, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Use `lr` from the next step on, in every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr
