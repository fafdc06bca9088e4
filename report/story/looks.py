"""How each way of choosing looks: one colour and marker in all figures of a page."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fmsel.experiments.compare_groups import STRATIFIED
from fmsel.report.figure import BASELINE_COLOUR, COLOURS

BASELINES = ("random", STRATIFIED)
MARKERS = "osD^vP<"  # tell kinds apart without colour; not as many as colours
DASHES: Mapping[str, Any] = {"fixmatch": "-", "supervised": (0, (4, 2))}


class Look(NamedTuple):
    """What a way of choosing is drawn in."""

    colour: str
    marker: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name, in their order; grey is that of the first random one."""
    distinct = list(dict.fromkeys(names))
    grey = next((each for each in BASELINES if each in distinct), None)
    found, number = {}, 0
    for name in distinct:
        if name == grey:
            found[name] = Look(BASELINE_COLOUR, "X")
            continue
        found[name] = Look(COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])
        number += 1
    return found
