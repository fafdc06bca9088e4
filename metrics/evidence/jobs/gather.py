"""Make each kind of evidence that metrics need, once, and say before what it will take."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.metrics.evidence.jobs.plan import Plan
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.jobs.speed import image_steps_per_second

T = TypeVar("T")
LONG = 60_000  # image steps; up to a minute on two cores, and worth an estimate


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """The given labels, and the evidence by kind.

    Attributes:
        labels: (N,) int64, the given labels in [0, C), or -1 where there is none.
        parts: kind -> evidence.
        seconds: kind -> wall-clock seconds that making it took (nearly 0 from the cache).
        compute_seconds: kind -> what it took when it was made, summed over the jobs that ran side
            by side, also where they came from the cache.
        parameters: kind -> what it was made with, JSON-able.
        needs: kind -> the kinds that it was made from.
    """

    labels: npt.NDArray[np.int64]
    parts: Mapping[str, Any]
    seconds: Mapping[str, float] = field(default_factory=dict)
    compute_seconds: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def get(self, kind: type[T]) -> T:
        """The evidence of this type; KeyError if no metric declared that it needs it."""
        for part in self.parts.values():
            if isinstance(part, kind):
                return part
        raise KeyError(kind.__name__)

    def closure(self, kinds: Iterable[str]) -> tuple[str, ...]:
        """The kinds, and all that they were made from, each once."""
        found: dict[str, None] = {}
        for kind in kinds:
            found |= dict.fromkeys((*self.closure(self.needs.get(kind, ())), kind))
        return tuple(found)


def gather(data: ImageDataset, kinds: Iterable[str], settings: Settings) -> Evidence:
    """Make the evidence of each kind (a module of `fmsel.metrics.evidence`), each once.

    Raises:
        DataError: the data set lacks the labels that a kind needs, or is too small for it.
        OptionError: a kind needs a package that is not installed.
    """
    plans = make_plans(data, kinds, settings)
    announce(plans, data, settings)
    parts: dict[str, Any] = {}
    seconds, compute, parameters = {}, {}, {}
    for kind, plan in plans.items():
        start = time.perf_counter()
        parts[kind] = _module(kind).make(data, plan, settings, parts)
        seconds[kind] = time.perf_counter() - start
        parameters[kind] = dict(parts[kind].parameters)
        compute[kind] = parameters[kind].pop("compute_seconds", round(seconds[kind], 1))
    return Evidence(
        labels=data.labels,
        parts=parts,
        seconds=seconds,
        compute_seconds=compute,
        parameters=parameters,
        needs={kind: plan.needs for kind, plan in plans.items()},
    )


def make_plans(data: ImageDataset, kinds: Iterable[str], settings: Settings) -> dict[str, Plan]:
    """The plan of each kind and of all that it needs, in the order of making."""
    plans: dict[str, Plan] = {}

    def add(kind: str) -> None:
        if kind not in plans:
            plan: Plan = _module(kind).plan(data, settings)
            for needed in plan.needs:
                add(needed)
            plans[kind] = plan

    for kind in kinds:
        add(kind)
    return plans


def announce(plans: Mapping[str, Plan], data: ImageDataset, settings: Settings) -> None:
    """Say what will be done and about how long it takes, where that is more than a minute."""
    work = {
        kind: sum(plan.work[job] for job in plan.missing(settings.cache))
        for kind, plan in plans.items()
    }
    if sum(work.values()) < LONG:
        return
    rate = image_steps_per_second(data, settings)
    for kind, plan in plans.items():
        settings.say(f"to do: {kind}: {plan.what}; {_about(work[kind] / rate)}")
    kept = settings.cache and any(plan.names for kind, plan in plans.items() if work[kind])
    settings.say(
        f"in all {_about(sum(work.values()) / rate)} on this machine"
        + ("; finished jobs are kept, so the same command goes on after Ctrl-C" * kept)
    )


def _about(seconds: float) -> str:
    if seconds == 0:
        return "done before"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _module(kind: str) -> ModuleType:
    return import_module(f"fmsel.metrics.evidence.{kind}")
