"""Pseudo-label rules: which predictions on weak views become targets, and with what weight.

Every plain module in this folder is one rule, named by its file, and defines
`make(context: RuleContext) -> Rule`. A new rule is one new file; one that has no use for the
configured threshold also says `READS_THRESHOLD = False`. The sub-package `parts` holds what rules
share.
"""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

import torch
from torch import Tensor

from fmsel.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class RuleContext:
    """What a rule may know when it is made.

    Attributes:
        threshold: tau of the configuration.
        temperature: T; softmax(logits / T) are the soft targets.
        hard: targets are classes, not distributions.
        prior: (C,) float32 that sums to 1, the class shares to align with; None where the
            rule's own default holds.
        n_classes: C.
        n_unlabelled: N, size of the unlabelled set.
        device: where its state is kept.
    """

    threshold: float
    temperature: float = 1.0
    hard: bool = True
    prior: Tensor | None = None
    n_classes: int
    n_unlabelled: int
    device: torch.device


@dataclass(frozen=True, kw_only=True)
class WeakView:
    """What a rule sees at each step; no gradient flows through it."""

    logits: Tensor  # (U, C) float32, of the weak views of the unlabelled images
    labelled_logits: Tensor  # (B, C) float32, of the labelled images
    index: Tensor  # (U,) int64 in [0, N), which unlabelled images these are


@dataclass(frozen=True)
class PseudoLabels:
    """Targets of the strong views.

    Attributes:
        targets: (U,) int64 in [0, C), or (U, C) float32 distributions.
        weights: (U,) float32 in [0, 1]; 0 = left out.
        penalty: from the (U, C) logits of the strong views, with gradient, to a scalar that joins
            the loss as it is; None where the rule has none.
    """

    targets: Tensor
    weights: Tensor
    penalty: Callable[[Tensor], Tensor] | None = None

    @property
    def classes(self) -> Tensor:
        """(U,) int64, the likeliest class of each target."""
        return self.targets if self.targets.dim() == 1 else self.targets.argmax(dim=1)


class Rule(Protocol):
    """A pseudo-label rule; what it learns on the way is in its state, so that runs resume."""

    def __call__(self, view: WeakView) -> PseudoLabels: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


def rule_names() -> list[str]:
    """Names of the rules there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def check_rule(name: str) -> None:
    """Raises OptionError if no rule is called `name`."""
    if name not in rule_names():
        raise OptionError(f"unknown rule {name!r}; use one of {', '.join(rule_names())}")


def reads_threshold(name: str) -> bool:
    """Whether the configured threshold means anything to a rule; OptionError as `check_rule`."""
    check_rule(name)
    return bool(getattr(import_module(f"{__name__}.{name}"), "READS_THRESHOLD", True))


def make_rule(name: str, context: RuleContext) -> Rule:
    """A new rule by name; OptionError as `check_rule`."""
    check_rule(name)
    return cast(Rule, import_module(f"{__name__}.{name}").make(context))
