"""Learning-rate schedules in closed form: functions of the step, so nothing needs saving."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SCHEDULES = ("fixmatch", "sgdr", "plateau", "constant")
PLATEAU_THRESHOLD = 1e-4  # relative; torch's ReduceLROnPlateau


def cosine_7_16(step: int, steps: int, lr: float) -> float:
    """`lr * cos(7 pi / 16 * step / steps)` (FixMatch, section 2.3): ends at 0.195 `lr`.

    Args:
        step: in [0, steps].
        steps: length of the whole run.
        lr: learning rate at step 0.
    """
    return lr * math.cos(7 * math.pi / 16 * step / steps)


def sgdr(step: int, cycle: int, growth: int, lr: float, lr_min: float) -> float:
    """Cosine from `lr` to `lr_min`, started again and again (Loshchilov and Hutter 2017, eq. 5).

    Args:
        step: 0, 1, …
        cycle: steps of the first cycle.
        growth: each cycle is so many times as long as the one before, 1 or more.
    """
    if growth == 1:
        step %= cycle
    while step >= cycle:
        step, cycle = step - cycle, cycle * growth
    return lr_min + (lr - lr_min) * (1 + math.cos(math.pi * step / cycle)) / 2


def plateau_scale(losses: Sequence[float], factor: float, patience: int) -> float:
    """What torch's ReduceLROnPlateau has multiplied the rate by after these losses."""
    best, bad, scale = math.inf, 0, 1.0
    for loss in losses:
        better = loss < best * (1 - PLATEAU_THRESHOLD)
        best, bad = (loss, 0) if better else (best, bad + 1)
        if bad > patience:
            scale, bad = scale * factor, 0
    return scale


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate at every step of a run.

    Attributes:
        name: one of `SCHEDULES`.
        lr: the highest rate.
        steps: length of the whole run.
        warmup: steps of a linear rise from 0 that come first.
        lr_min: where a cycle of sgdr ends, and the least rate of plateau.
        cycle: steps of sgdr's first cycle; 0 is the whole run.
        growth: of sgdr's cycles.
        factor: by which plateau multiplies the rate.
        patience: evaluations without a better loss that plateau sits out.
    """

    name: str
    lr: float
    steps: int
    warmup: int = 0
    lr_min: float = 0.0
    cycle: int = 0
    growth: int = 1
    factor: float = 0.1
    patience: int = 10

    def __call__(self, step: int, losses: Sequence[float] = ()) -> float:
        """The rate of step 0, 1, …; only plateau reads `losses`, one of each evaluation so far."""
        if step < self.warmup:
            return self.lr * step / self.warmup
        step, steps = step - self.warmup, max(self.steps - self.warmup, 1)
        if self.name == "fixmatch":
            return cosine_7_16(step, steps, self.lr)
        if self.name == "sgdr":
            return sgdr(step, self.cycle or steps, self.growth, self.lr, self.lr_min)
        if self.name == "plateau":
            scale = plateau_scale(losses, self.factor, self.patience)
            return max(self.lr * scale, self.lr_min)
        return self.lr
