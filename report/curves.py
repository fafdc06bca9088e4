"""Test accuracy over the training steps, one line a group of replicates."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmsel.experiments.compare import Comparison
from fmsel.report.figure import (
    BASELINE_COLOUR,
    COLOURS,
    SMALL_SIZE,
    SOFT,
    clean_axes,
    new_figure,
    plain,
    set_heading,
)
from fmsel.report.table import conditions, group_name


def curves_figure(comparison: Comparison) -> Figure:
    """A picture of `draw_curves`, wide enough for a page."""
    figure = new_figure(9, 5.6)
    draw_curves(figure.subplots(), comparison)
    return figure


def draw_curves(axes: Axes, comparison: Comparison) -> None:
    """Draw the mean EMA test accuracy of each group, with a band from its worst to its best run.

    A colour is a kind of split (grey: the baseline); FixMatch is solid, supervised-only dashed.
    """
    colours = _colours(comparison)
    for group in comparison.groups:
        steps = group.runs[0].record.steps
        curves = 100 * np.stack(
            [each.record.ema_accuracy for each in group.runs]
        )  # (replicates, E)
        colour = colours[group.name]
        dashes = "-" if group.mode == "fixmatch" else (0, (4, 2))
        axes.plot(
            steps,
            curves.mean(0),
            color=colour,
            linestyle=dashes,
            lw=2.2,
            label=plain(group_name(group)),
        )
        axes.fill_between(steps, curves.min(0), curves.max(0), color=colour, alpha=0.13, lw=0)
    clean_axes(axes)
    axes.set_xlim(0, steps[-1])
    axes.set_xlabel("training step", fontsize=SMALL_SIZE, color=SOFT)
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.02, -0.12), ncols=2, frameon=False, fontsize=SMALL_SIZE
    )
    set_heading(
        axes,
        "Test accuracy (EMA weights)",
        f"{conditions(comparison)}; line: mean of n replicates, band: worst to best",
    )


def _colours(comparison: Comparison) -> dict[str, str]:
    """A colour for each kind of split, the same whatever its training."""
    names = dict.fromkeys(
        row.group.name for row in comparison.rows if row.group.split.strategy != comparison.baseline
    )
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    return {row.group.name: BASELINE_COLOUR for row in comparison.rows} | colours
