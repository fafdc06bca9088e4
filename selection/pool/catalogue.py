"""Every strategy with what it reads and does, as its module says."""

import sys
from dataclasses import fields
from typing import NamedTuple

from fmsel.selection.pool.strategy import Evidence, strategy_class, strategy_names

READS: dict[Evidence, str] = {
    "features": "embeddings",
    "probabilities": "a run",
    "history": "a run's history",
}


class Entry(NamedTuple):
    """One strategy."""

    name: str
    label_use: str  # how far it reads labels that nobody has yet
    reads: tuple[str, ...]  # scores, embeddings, a run, a run's history
    nested: bool  # whether a prefix is the choice of the smaller budget
    parameters: tuple[str, ...]  # "name=default"
    summary: str  # the first sentence of its module


def catalogue() -> list[Entry]:
    """An entry for every strategy, sorted by name."""
    return [_entry(name) for name in strategy_names()]


def _entry(name: str) -> Entry:
    kind = strategy_class(name)
    own = {each.name: each.default for each in fields(kind)}
    scores = ("scores",) if "metrics" in own else ()
    text = " ".join((sys.modules[kind.__module__].__doc__ or "").split("\n\n")[0].split())
    return Entry(
        name=name,
        label_use=kind.LABEL_USE,
        reads=(*scores, *(READS[each] for each in kind.NEEDS)),
        nested=kind.NESTED,
        parameters=tuple(f"{key}={default}" for key, default in own.items() if key != "metrics"),
        summary=text.partition(": ")[2].rstrip("."),
    )
