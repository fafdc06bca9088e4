"""Test accuracy over the number of labels, one line a strategy."""

from collections.abc import Iterator
from itertools import cycle
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from fmsel.experiments.loop.results import LoopResults, Row
from fmsel.experiments.loop.statistics import mean_interval
from fmsel.experiments.statistics import MIN_REPLICATES
from fmsel.report.figure import (
    BASELINE_COLOUR,
    COLOURS,
    SMALL_SIZE,
    SOFT,
    clean_axes,
    new_figure,
    set_heading,
)
from fmsel.report.loop_table import strategy_name


class Look(NamedTuple):
    """How one strategy is drawn."""

    colour: str
    marker: str


MARKERS = "osD^vP"  # tell lines apart without colour
# Of the random strategies: the baseline in grey, and the oracle among them in a hue of its own.
RANDOM = {"random": Look(BASELINE_COLOUR, "X"), "random_stratified": Look("#882255", "h")}
DASHES = (0, (4, 2))  # of oracles
APART = 7.0  # points between the error bars of neighbouring strategies
WIDEST = 28.0  # points between the first and the last of them


def loop_figure(results: LoopResults) -> Figure:
    """A picture of `draw_loop`, wide enough for a page."""
    figure = new_figure(9, 5.6)
    draw_loop(figure.subplots(), results)
    return figure


def draw_loop(axes: Axes, results: LoopResults) -> None:
    """Draw the mean accuracy of each strategy with the interval of the mean, or its seeds.

    Colour and marker are the strategy's (grey: random); oracles are dashed. Points are at the mean
    numbers of labels, on a logarithmic scale, over which the area is taken too; strategies stand
    some points of the page side by side, so that their error bars do not hide each other.

    Args:
        results: of a loop that was evaluated.
    """
    axes.set_xscale("log")
    looks = cycle(Look(*each) for each in zip(COLOURS, MARKERS, strict=True))
    for row, shift in zip(results.rows, _shifts(len(results.rows)), strict=True):
        _draw_row(axes, row, RANDOM.get(row.strategy) or next(looks), shift)
    clean_axes(axes)
    axes.set_xticks(results.budgets, [f"{each:,}" for each in results.budgets])
    axes.tick_params(axis="x", length=4, color="#bbbbbb")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("labels (log scale)", fontsize=SMALL_SIZE, color=SOFT)
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.figure.legend(
        loc="outside lower left",
        ncols=min(len(results.rows), 3),
        frameon=False,
        fontsize=SMALL_SIZE,
        handlelength=3.5,  # shows the dashes on both sides of the marker
    )
    set_heading(
        axes,
        f"Accuracy by number of labels, {results.dataset}",
        f"On the test part, EMA weights; {results.training}; {_spread_shown(results.seeds)}",
    )


def _spread_shown(seeds: int) -> str:
    """What the picture tells of the spread over seeds."""
    if seeds == 1:
        return "one seed"
    shown = "dots: single seeds"
    if seeds >= MIN_REPLICATES:
        shown = "bars: its 95 % interval"
    return f"mean of {seeds} seeds, {shown}"


def _shifts(count: int) -> Iterator[float]:
    """Places of the strategies beside their numbers of labels, in points, 0 in their middle."""
    step = min(APART, WIDEST / max(count - 1, 1))
    return (step * (place - (count - 1) / 2) for place in range(count))


def _draw_row(axes: Axes, row: Row, look: Look, shift: float) -> None:
    labels, means = row.labels, [100 * float(np.mean(values)) for values in row.accuracies]
    drawn: list[Artist] = []
    drawn += axes.plot(
        labels,
        means,
        color=look.colour,
        linestyle=DASHES if row.oracle else "-",
        lw=1.8,
        marker=look.marker,
        markersize=7,
        markeredgecolor="white",
        label=_legend(row),
    )
    bands = [found for values in row.accuracies if (found := mean_interval(values))]
    if bands:
        low, high = 100 * np.clip(np.transpose(bands), 0, 1)  # (R,) each
        lengths = np.maximum([np.subtract(means, low), np.subtract(high, means)], 0)
        bars = axes.errorbar(
            labels, means, lengths, fmt="none", ecolor=look.colour, elinewidth=1, capsize=3
        )
        drawn += bars.get_children()
    elif len(row.tracks) > 1:
        for track in row.tracks:
            singles = [100 * each for each in track.accuracies if each is not None]
            drawn += axes.plot(track.labels, singles, ".", color=look.colour, markersize=5)
    beside = axes.transData + ScaledTranslation(shift / 72, 0, axes.figure.dpi_scale_trans)
    for each in drawn:  # afterwards, as the limits of the axes are taken from what is at its place
        each.set_transform(beside)


def _legend(row: Row) -> str:
    start = f", start {strategy_name(row.start)}" if row.start else ""
    return f"{strategy_name(row.strategy)}{start}{', oracle' if row.oracle else ''}"
