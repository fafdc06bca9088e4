"""The optimisers of FixMatch and of its ablations."""

from typing import Any

import torch
from torch import Tensor, nn

KERNELS = nn.Conv2d | nn.Linear  # the layers whose weights decay
OPTIMIZERS = ("sgd", "adam")


def sgd(
    model: nn.Module,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    decay_all: bool = False,
    fused: bool | None = None,
) -> torch.optim.SGD:
    """Nesterov SGD with coupled weight decay: `weight_decay * w` joins the gradient first.

    With `fused` the update is one kernel that also obeys `optimizer.found_inf`, and on a GPU the
    rate is read from the device, so that a step can be captured and replayed.
    """
    return torch.optim.SGD(
        parameter_groups(model, weight_decay, decay_all),
        lr=_rate(model, lr, fused),
        momentum=momentum,
        nesterov=momentum > 0,
        fused=fused,
    )


def adam(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    decay_all: bool = False,
    fused: bool | None = None,
) -> torch.optim.Adam:
    """Adam (Kingma and Ba 2015) with the same coupled weight decay as `sgd`, so not AdamW."""
    groups = parameter_groups(model, weight_decay, decay_all)
    rate = _rate(model, lr, fused)
    made = torch.optim.Adam(groups, lr=rate, fused=fused, capturable=isinstance(rate, Tensor))
    # torch would warn of the steps before the recording, which run as they are on purpose.
    made._warned_capturable_if_run_uncaptured = True
    return made


def parameter_groups(
    model: nn.Module, weight_decay: float, decay_all: bool
) -> list[dict[str, Any]]:
    """The decayed parameters, then the others.

    Biases and batch norm are not decayed (google-research/fixmatch decays the variables called
    `kernel`); with `decay_all` they are.
    """
    kernels = {id(m.weight) for m in model.modules() if isinstance(m, KERNELS)}
    decayed = [p for p in model.parameters() if decay_all or id(p) in kernels]
    others = [p for p in model.parameters() if not decay_all and id(p) not in kernels]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Use `lr` from the next step on, in every group; never waits for the device."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def _rate(model: nn.Module, lr: float, fused: bool | None) -> float | Tensor:
    device = next(model.parameters()).device
    return torch.tensor(lr, device=device) if fused and device.type == "cuda" else lr
