"""Make each kind of evidence that a set of metrics needs, once."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset

T = TypeVar("T")


def _quiet(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How evidence is made.

    Attributes:
        seed: any integer >= 0.
        device, precision: as `resolve_device` and `resolve_precision` take them.
        cache: keep and reuse finished networks' outputs.
        say: called with one line before each long job: what it will do and what it needs.
    """

    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    cache: bool = True
    say: Callable[[str], None] = _quiet


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """The given labels, and the evidence by kind.

    Attributes:
        labels: (N,) int64, the given labels in [0, C).
        parts: kind -> evidence.
        seconds: kind -> wall-clock seconds that making it took (0 where it came from the cache).
        parameters: kind -> what it was made with, JSON-able.
    """

    labels: npt.NDArray[np.int64]
    parts: Mapping[str, Any]
    seconds: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def get(self, kind: type[T]) -> T:
        """The evidence of this type; KeyError if no metric declared that it needs it."""
        for part in self.parts.values():
            if isinstance(part, kind):
                return part
        raise KeyError(kind.__name__)


def gather(data: ImageDataset, kinds: Iterable[str], settings: Settings) -> Evidence:
    """Make the evidence of each kind (a module of this folder), each once.

    Raises:
        DataError: the data set lacks the labels that a kind needs, or is too small for it.
    """
    parts, seconds, parameters = {}, {}, {}
    for kind in dict.fromkeys(kinds):
        start = time.perf_counter()
        parts[kind] = import_module(f"fmsel.metrics.evidence.{kind}").make(data, settings)
        seconds[kind] = time.perf_counter() - start
        parameters[kind] = parts[kind].parameters
    return Evidence(labels=data.labels, parts=parts, seconds=seconds, parameters=parameters)
