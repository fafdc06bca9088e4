"""Pseudo-label rules: which predictions on weak views become targets, and with what weight.

Every module in this folder is one rule, named by its file, and defines
`make(context: RuleContext) -> Rule`. A new rule is one new file.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

import torch
from torch import Tensor

from fmsel.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class RuleContext:
    """What a rule may know when it is made."""

    threshold: float  # tau of the configuration
    n_classes: int  # C
    n_unlabelled: int  # N, size of the unlabelled set
    device: torch.device


@dataclass(frozen=True, kw_only=True)
class WeakView:
    """What a rule sees at each step; no gradient flows through it."""

    logits: Tensor  # (U, C) float32, of the weak views of the unlabelled images
    labelled_logits: Tensor  # (B, C) float32, of the labelled images
    index: Tensor  # (U,) int64 in [0, N), which unlabelled images these are


@dataclass(frozen=True)
class PseudoLabels:
    """Targets of the strong views."""

    targets: Tensor  # (U,) int64 in [0, C)
    weights: Tensor  # (U,) float32 in [0, 1]; 0 = left out


class Rule(Protocol):
    """A pseudo-label rule; what it learns on the way is in its state, so that runs resume."""

    def __call__(self, view: WeakView) -> PseudoLabels: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


def rule_names() -> list[str]:
    """Names of the rules there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def check_rule(name: str) -> None:
    """Raises OptionError if no rule is called `name`."""
    if name not in rule_names():
        raise OptionError(f"unknown rule {name!r}; use one of {', '.join(rule_names())}")


def make_rule(name: str, context: RuleContext) -> Rule:
    """A new rule by name; OptionError as `check_rule`."""
    check_rule(name)
    return cast(Rule, import_module(f"{__name__}.{name}").make(context))
