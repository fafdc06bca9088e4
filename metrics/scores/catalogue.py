"""The metrics there are: every plain module of `fmsel.metrics`, named by its file."""

import pkgutil
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import fmsel.metrics
from fmsel.errors import OptionError

DEFAULT = ("self-confidence", "epoch-confidence", "conf", "agr")


def metric_names() -> tuple[str, ...]:
    """Names of all metrics, without importing them."""
    found = pkgutil.iter_modules(fmsel.metrics.__path__)
    return tuple(sorted(m.name.replace("_", "-") for m in found if not m.ispkg))


def metric_module(name: str) -> ModuleType:
    """The module of a metric: `NEEDS` (kinds of evidence), `LABEL_USE`, `score(evidence)`.

    Raises:
        OptionError: there is no metric of that name.
    """
    if name not in metric_names():
        raise OptionError(f"unknown metric {name!r}; the metrics are {', '.join(metric_names())}")
    return import_module(f"fmsel.metrics.{name.replace('-', '_')}")


def check_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """The names without repeats; OptionError on an unknown or missing one."""
    if not names:
        raise OptionError(f"name at least one metric; the metrics are {', '.join(metric_names())}")
    for name in names:
        metric_module(name)
    return tuple(dict.fromkeys(names))
