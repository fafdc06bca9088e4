"""Test accuracy over the number of labels, one line a strategy."""

from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from fmsel.experiments.compare import BASELINES
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
from fmsel.report.loop_table import conditions, strategy_name

MARKERS = "osD^vP"  # tell lines apart without colour
DASHES = (0, (4, 2))  # of oracles


def loop_figure(results: LoopResults) -> Figure:
    """A picture of `draw_loop`, wide enough for a page."""
    figure = new_figure(9, 5.6)
    draw_loop(figure.subplots(), results)
    return figure


def draw_loop(axes: Axes, results: LoopResults) -> None:
    """Draw the mean accuracy of each strategy with the interval of the mean.

    Colour and marker are the strategy's (grey: the random baselines); oracles are dashed. The
    labels are on a logarithmic scale, over which the area is taken too.

    Args:
        results: of a loop that was evaluated.
    """
    looks = cycle(zip(COLOURS, MARKERS, strict=True))
    for row in results.rows:
        baseline = row.strategy in BASELINES
        _draw_row(axes, row, *((BASELINE_COLOUR, "X") if baseline else next(looks)))
    clean_axes(axes)
    axes.set_xscale("log")
    axes.set_xticks(results.budgets, [f"{each:,}" for each in results.budgets])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("labels (log scale)", fontsize=SMALL_SIZE, color=SOFT)
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.12),
        ncols=2,
        frameon=False,
        fontsize=SMALL_SIZE,
        handlelength=3.5,  # shows the dashes on both sides of the marker
    )
    band = "band: 95 % interval of the mean"
    if results.seeds < MIN_REPLICATES:
        band = f"no band: fewer than {MIN_REPLICATES} seeds"
    set_heading(
        axes, "Test accuracy (EMA weights)", f"{conditions(results)}; line: mean over seeds, {band}"
    )


def _draw_row(axes: Axes, row: Row, colour: str, marker: str) -> None:
    dashes = DASHES if row.oracle else "-"
    means = [100 * float(np.mean(values)) for values in row.accuracies]
    axes.plot(
        row.labels,
        means,
        color=colour,
        linestyle=dashes,
        lw=2.2,
        marker=marker,
        markersize=7,
        markeredgecolor="white",
        label=_legend(row),
    )
    bands = [found for values in row.accuracies if (found := mean_interval(values))]
    if bands:
        low, high = 100 * np.clip(np.transpose(bands), 0, 1)  # (R,) each
        axes.fill_between(row.labels, low, high, color=colour, alpha=0.08, lw=0)
        for edge in (low, high):
            axes.plot(row.labels, edge, color=colour, linestyle=dashes, lw=0.8, alpha=0.5)


def _legend(row: Row) -> str:
    start = f", start {strategy_name(row.start)}" if row.start else ""
    return f"{strategy_name(row.strategy)}{start}{', oracle' if row.oracle else ''}"
