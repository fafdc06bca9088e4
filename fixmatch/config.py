"""`FixMatchConfig`: every number of the method, with its source; presets are named instances."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from fmsel.errors import OptionError
from fmsel.fixmatch.rules import check_rule
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
    weight_decay: float = 5e-4  # table 4; kernels only (reference code)
    threshold: float = 0.95  # table 4: tau, least confidence of a pseudo-label
    lambda_u: float = 1.0  # table 4: weight of the unlabelled loss
    rule: str = "fixed"  # pseudo-label rule, a file in fixmatch/rules; equation 4
    ema_decay: float = 0.999  # reference code: ab_fixmatch_ra.py
    ema_ramp: bool = False  # min(decay, (1 + t) / (10 + t)), for short schedules
    bn_momentum: float = 0.001  # reference code: 0.999 in TensorFlow's convention
    eval_every: int = 1024  # steps; reference code: every 64 kimg

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "mu", "eval_every"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        self._check("lr", self.lr > 0, "above 0")
        for name in ("weight_decay", "lambda_u"):
            self._check(name, getattr(self, name) >= 0, "at least 0")
        for name in ("momentum", "ema_decay"):
            self._check(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        self._check("threshold", 0 <= self.threshold <= 1, "a probability, 0..1")
        self._check("bn_momentum", 0 < self.bn_momentum <= 1, "in (0, 1]")
        parse_architecture(self.arch)
        check_rule(self.rule)

    def _check(self, name: str, good: bool, allowed: str) -> None:
        if not good:
            raise OptionError(f"{name}={getattr(self, name)} must be {allowed}")

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
