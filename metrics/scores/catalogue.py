"""The metrics there are: every plain module of `fmsel.metrics`, named by its file."""

import pkgutil
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import fmsel.metrics
from fmsel.errors import OptionError

DEFAULT = ("self-confidence", "epoch-confidence", "conf", "agr")
NOT_CHEAP = ("adv", "adv-linf", "priv")  # an hour on a CPU with CIFAR-10; a package of its own
GROUPS = ("default", "cheap", "all")


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
        raise OptionError(
            f"unknown metric {name!r}; the metrics are {', '.join(metric_names())}, "
            f"and the groups {', '.join(GROUPS)}"
        )
    return import_module(f"fmsel.metrics.{name.replace('-', '_')}")


def check_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """The metrics without repeats, in the order given.

    Args:
        names: metrics, or groups: `default` (four of one small ensemble), `cheap` (all but the
            attacks, which take long on a CPU, and `priv`, which needs `fmsel[dp]`), `all`.
    Raises:
        OptionError: an unknown name, or none at all.
    """
    if not names:
        raise OptionError(f"name at least one metric; the metrics are {', '.join(metric_names())}")
    found = [metric for name in names for metric in _members(name)]
    for name in found:
        metric_module(name)
    return tuple(dict.fromkeys(found))


def named_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Those of the names that are metrics and no groups."""
    return tuple(name for name in names if name not in GROUPS)


def _members(name: str) -> tuple[str, ...]:
    if name not in GROUPS:
        return (name,)
    rest = tuple(m for m in metric_names() if m not in DEFAULT)
    chosen = {"default": (), "all": rest, "cheap": tuple(m for m in rest if m not in NOT_CHEAP)}
    return (*DEFAULT, *chosen[name])
