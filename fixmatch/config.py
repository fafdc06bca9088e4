"""`FixMatchConfig`: every number of the method, with its source; presets are named instances."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from fmsel.errors import OptionError
from fmsel.fixmatch.rules import check_rule
from fmsel.training.augment.strong import check_strong
from fmsel.training.engine.optim import OPTIMIZERS
from fmsel.training.engine.schedule import SCHEDULES, Schedule
from fmsel.training.networks.build import parse_architecture


@dataclass(frozen=True, kw_only=True)
class FixMatchConfig:
    """The paper's CIFAR-10 recipe by default (Sohn et al. 2020, arXiv 2001.07685).

    Raises:
        OptionError: a value out of range.
    """

    arch: str = "wrn-28-2"  # section 4.1
    steps: int = 2**20  # table 4: K
    batch: int = 64  # table 4: B, labelled images a step
    mu: int = 7  # table 4: unlabelled images a step = mu * batch
    lr: float = 0.03  # table 4: eta, at step 0 of the 7/16 cosine
    momentum: float = 0.9  # table 4: beta, Nesterov
    weight_decay: float = 5e-4  # table 4; coupled (L2)
    decay_all: bool = False  # decay biases and batch norm too; reference code: kernels only
    optimizer: str = "sgd"  # section 2.3: SGD beats Adam; adam ignores the momentum
    schedule: str = "fixmatch"  # section 2.3: lr cos(7 pi k / 16 K); or sgdr, plateau, constant
    warmup: int = 0  # steps of a linear rise from 0; reference code: none
    lr_min: float = 0.0  # where a cycle of sgdr ends, and the least rate of plateau
    sgdr_cycle: int = 0  # steps of the first cycle; 0 = the whole run
    sgdr_growth: int = 1  # each cycle is so many times as long as the one before
    plateau_factor: float = 0.1  # torch's ReduceLROnPlateau
    plateau_patience: int = 10  # evaluations; torch's ReduceLROnPlateau
    threshold: float = 0.95  # table 4: tau, least confidence of a pseudo-label
    lambda_u: float = 1.0  # table 4: weight of the unlabelled loss
    rule: str = "fixed"  # pseudo-label rule, a file in fixmatch/rules; equation 4
    hard: bool = True  # pseudo-labels are classes, not distributions; section 2.2
    temperature: float = 1.0  # T of soft pseudo-labels: softmax(logits / T); 1 = as predicted
    prior: str | None = None  # class shares that a rule aligns with: uniform, labelled (those of
    # the split) or numbers such as "0.5,0.3,0.2"; None = the rule's own default
    augment: str = "google-code"  # strong augmentation, a file in training/augment/strong
    ema_decay: float = 0.999  # reference code: ab_fixmatch_ra.py
    ema_ramp: bool = False  # min(decay, (1 + t) / (10 + t)), for short schedules
    bn_momentum: float = 0.001  # reference code: 0.999 in TensorFlow's convention
    weak_gradient: bool = True  # reference code: weak views share the batch norm of the others;
    # False is cheaper and not the same: they pass alone, without gradient
    interleave: bool = False  # mix labelled, weak and strong images along the batch
    eval_every: int = 1024  # steps; reference code: every 64 kimg

    def __post_init__(self) -> None:
        for name, value in self.as_dict().items():
            self._check(name, not isinstance(value, float) or math.isfinite(value), "finite")
        for name in ("steps", "batch", "mu", "eval_every", "sgdr_growth"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        self._check("lr", self.lr > 0, "above 0")
        for name in ("weight_decay", "lambda_u", "warmup", "lr_min", "sgdr_cycle"):
            self._check(name, getattr(self, name) >= 0, "at least 0")
        for name in ("momentum", "ema_decay"):
            self._check(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        self._check("threshold", 0 <= self.threshold <= 1, "a probability, 0..1")
        self._check("bn_momentum", 0 < self.bn_momentum <= 1, "in (0, 1]")
        self._check("temperature", self.temperature > 0, "above 0")
        if self.hard and self.temperature != 1:
            raise OptionError(
                f"temperature={self.temperature} sharpens soft pseudo-labels only; "
                "use soft ones too, or leave it at 1"
            )
        self._check("warmup", self.warmup < self.steps, f"below steps={self.steps}")
        self._check("lr_min", self.lr_min <= self.lr, f"at most lr={self.lr}")
        self._check("plateau_factor", 0 < self.plateau_factor < 1, "in (0, 1)")
        self._check("plateau_patience", self.plateau_patience >= 0, "at least 0")
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            value = getattr(self, name)
            self._check(name, value in known, f"one of {', '.join(known)}")
        parse_prior(self.prior)
        check_strong(self.augment)
        parse_architecture(self.arch)
        check_rule(self.rule)

    def _check(self, name: str, good: bool, allowed: str) -> None:
        if not good:
            raise OptionError(f"{name}={getattr(self, name)} must be {allowed}")

    @property
    def learning_rate(self) -> Schedule:
        """The learning rate at every step."""
        return Schedule(
            name=self.schedule,
            lr=self.lr,
            steps=self.steps,
            warmup=self.warmup,
            lr_min=self.lr_min,
            cycle=self.sgdr_cycle,
            growth=self.sgdr_growth,
            factor=self.plateau_factor,
            patience=self.plateau_patience,
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FixMatchConfig":
        """The inverse of `as_dict`; missing fields take their defaults.

        Raises:
            OptionError: an unknown field or a bad value.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise OptionError(f"unknown setting {', '.join(unknown)}; known: {sorted(known)}")
        return cls(**values)


def parse_prior(text: str | None) -> str | tuple[float, ...] | None:
    """None, "uniform", "labelled", or numbers above 0 that sum to 1, from "0.5,0.3,0.2".

    Raises:
        OptionError: none of these.
    """
    if text is None or text in ("uniform", "labelled"):
        return text
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    # Written so that nan fails too.
    if len(shares) < 2 or not min(shares) > 0 or not abs(sum(shares) - 1) <= 1e-3:
        raise OptionError(
            f"prior {text!r} must be uniform, labelled, or one share above 0 a class that sum to 1"
        )
    return shares
