"""`fmsel scores report`: how far the metrics agree, and what their quality costs."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from fmsel.artefacts import check_output, write_text
from fmsel.metrics.scores.agreement import Estimate, resamples_for
from fmsel.metrics.scores.quality import LOWEST, TAIL, Quality
from fmsel.metrics.scores.reference import Reference
from fmsel.metrics.scores.summary import CONSENSUS
from fmsel.report.figure import (
    COLOURS,
    SMALL_SIZE,
    SOFT,
    clean_axes,
    new_figure,
    set_heading,
    write_figure,
)
from fmsel.report.page import png_uri, render
from fmsel.report.table import Table

PAGE, PICTURE = "report.html", "report.png"
NONE = "–"
ORACLE = "oracle"  # heading of what a metric read of the labels
CELL = 0.46  # inches a side of a matrix's cell
NUMBER_SIZE = 8  # points, in a cell
LINE = 0.19  # inches between names beside a plot
# A colour and a marker for each label use, so that neither alone carries the meaning.
MARKS = {"none": (COLOURS[2], "o"), "training": (COLOURS[0], "s"), "formula": (COLOURS[1], "^")}


def check_report(out: Path, force: bool) -> None:
    """Refuse now what `write_report` could not write; OutputError."""
    for name in (PAGE, PICTURE):
        check_output(out / name, force)


def write_report(
    quality: Quality,
    title: str,
    notes: Sequence[str],
    out: Path,
    force: bool = False,
) -> None:
    """Write the page and the picture that it shows into the folder `out`.

    Args:
        title: the page's heading.
        notes: sentences that are needed to read the tables.
    Raises:
        OutputError: one of the two exists and `force` is false, or `out` cannot be written to.
    """
    check_report(out, force)
    write_figure(quality_figure(quality), out / PICTURE, force)
    page = render(
        "scores.html",
        title=title,
        notes=notes,
        picture=png_uri((out / PICTURE).read_bytes()),
        tables=[*quality_tables(quality), *matrix_tables(quality)],
    )
    write_text(out / PAGE, page, force)


def quality_tables(quality: Quality) -> list[Table]:
    """A table of cost and consensus, one a reference, and one of the published sets."""
    tables = [
        Table(
            title="Cost, and Spearman correlation with the consensus of the other metrics",
            headings=("metric", ORACLE, "compute seconds", "consensus of the others"),
            rows=[
                (m, use_name(quality.label_use[m]), _seconds(quality.cost[m]), _number(value))
                for m, value in quality.with_others.items()
            ],
        )
    ]
    for reference, rows in quality.references.items():
        tables.append(
            Table(
                title=f"Correlation of ranks with {reference}, and lift at either end",
                headings=("metric", ORACLE, "overall", "within class", "lift low", "lift high"),
                rows=[
                    (
                        name,
                        use_name(quality.label_use[name]),
                        _interval(row.overall),
                        _interval(row.within_class),
                        _number(row.lift_lowest),
                        _number(row.lift_highest),
                    )
                    for name, row in rows.items()
                ],
            )
        )
    if quality.sets:
        tables.append(_sets_table(quality))
    return tables


def matrix_tables(quality: Quality) -> list[Table]:
    """The three matrices in figures; columns are numbered as the rows are."""
    headings = ("metric", ORACLE, *(str(i + 1) for i in range(len(quality.metrics))))
    return [
        Table(
            title=title,
            headings=headings,
            rows=[
                (f"{i + 1} {m}", use_name(quality.label_use[m]), *map(_number, matrix[i]))
                for i, m in enumerate(quality.metrics)
            ],
        )
        for title, matrix in _matrices(quality).items()
    ]


def report_notes(
    quality: Quality,
    references: Sequence[Reference],
    changed: Sequence[str],
    published: Sequence[str] = (),
) -> list[str]:
    """What the figures are, one sentence each.

    Args:
        changed: metrics that were made with other labels than the data set has now.
        published: where ranks that came with fmsel are from.
    """
    said = [
        "Within class: ranks are taken within each class (images without a label are one), then "
        "all classes are pooled.",
        "The consensus is the mean rank of all metrics, each with the same weight; metrics of one "
        "ensemble err together, so agreement among them is no proof of quality.",
        "Compute seconds are those of the formula and of all its evidence, summed over jobs side "
        f"by side; metrics share evidence, so the column does not add up. {NONE}: undefined (a "
        "metric that is the same for all images) or not known.",
    ]
    for each in references:
        said.append(
            f"{each.name}: {len(each.values):,} images; 95 % percentile bootstrap intervals, "
            f"{resamples_for(len(each.values)):,} resamples of the images. Lift: how many times as "
            f"often the reference's lowest {LOWEST:.0%} (and those that tie with them) occur among "
            f"the lowest and the highest {TAIL:.0%} of a metric as among all."
        )
    if any(use != "none" for use in quality.label_use.values()):
        said.append(
            "oracle: the metric read labels that nobody has before labelling (training: networks "
            "learned from labels; formula: it reads the image's own label too), so a choice made "
            "by it shows what is possible."
        )
    said += [
        f"Ranks that came with fmsel, not scores, so Pearson's correlation is of ranks too: {each}"
        for each in published
    ]
    if changed:
        said.append(f"Made with other labels than the images have now: {', '.join(changed)}.")
    return said


def use_name(label_use: str) -> str:
    """What the column "oracle" says: "no", "training" or "formula"."""
    return "no" if label_use == "none" else label_use


def quality_figure(quality: Quality) -> Figure:
    """Three matrices of correlations, and cost against quality."""
    side = max(4.2, CELL * len(quality.metrics))
    figure = new_figure(2 * side + 4, 2 * side + 2.4)
    panels = figure.subplots(2, 2).ravel()
    for axes, (title, matrix) in zip(panels, _matrices(quality).items(), strict=False):
        draw_matrix(axes, title, matrix, quality.metrics)
    draw_cost(panels[3], quality, LINE / side)
    return figure


def draw_matrix(
    axes: Axes, title: str, matrix: npt.NDArray[np.float64], metrics: Sequence[str]
) -> None:
    """One (M, M) matrix, each cell with its number; what is undefined stays grey."""
    axes.set_facecolor("#dddddd")
    axes.imshow(matrix, cmap="RdBu", vmin=-1, vmax=1)
    places = range(len(metrics))
    axes.set_yticks(places, [f"{m}  {i + 1}" for i, m in enumerate(metrics)], fontsize=SMALL_SIZE)
    axes.set_xticks(places, [str(i + 1) for i in places], fontsize=SMALL_SIZE)
    axes.tick_params(length=0, colors=SOFT)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(matrix):
        ink = "white" if abs(value) > 0.6 else "black"
        axes.text(
            column, row, _number(value), ha="center", va="center", color=ink, fontsize=NUMBER_SIZE
        )
    heading, _, note = title.partition(", ")
    set_heading(axes, heading, note)


def draw_cost(axes: Axes, quality: Quality, gap: float) -> None:
    """Compute seconds (log) against quality; names stand beside the plot, at the end of a line.

    Args:
        gap: between two names, as a share of the plot's height.
    """
    points, against = _cost_points(quality)
    clean_axes(axes)
    set_heading(axes, "Cost against quality", f"rank correlation with {against}")
    axes.set_xlabel(
        "compute seconds of the metric and all its evidence", fontsize=SMALL_SIZE, color=SOFT
    )
    if not points:
        axes.text(0.5, 0.5, "no metric's cost is known", ha="center", transform=axes.transAxes)
        return
    seconds = [each[0] for each in points.values()]
    axes.set_xscale("log")
    least, most = log10(0.7 * min(seconds)), log10(max(seconds))  # no marker sits on the edge
    axes.set_xlim(10.0 ** floor(least), 10.0 ** (floor(most) + 1))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    for metric, (cost, estimate) in points.items():
        colour, marker = MARKS[quality.label_use[metric]]
        axes.plot([cost] * 2, [estimate.low, estimate.high], color=colour, lw=1.4)
        axes.plot(cost, estimate.value, marker, color=colour, ms=7)
    for use, (colour, marker) in MARKS.items():
        axes.plot([], [], marker, color=colour, label=f"oracle: {use_name(use)}")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False, fontsize=SMALL_SIZE
    )
    _name_points(axes, {m: (s, e.value) for m, (s, e) in points.items()}, gap)


def _name_points(axes: Axes, points: Mapping[str, tuple[float, float]], gap: float) -> None:
    """Names in a column right of the plot, spread so that none covers another."""
    low, high = axes.get_ylim()
    order = sorted(points, key=lambda m: points[m][1])
    wanted = np.array([(points[m][1] - low) / (high - low) for m in order])
    steps = gap * np.arange(len(order))
    places = np.maximum.accumulate(wanted - steps) + steps
    places -= max(0.0, places[-1] - 1)
    for metric, place in zip(order, places, strict=True):
        axes.annotate(
            metric,
            xy=points[metric],
            xytext=(1.04, place),
            textcoords="axes fraction",
            va="center",
            fontsize=SMALL_SIZE,
            arrowprops={"arrowstyle": "-", "color": "#bbbbbb", "lw": 0.8},
        )


def _cost_points(quality: Quality) -> tuple[dict[str, tuple[float, Estimate]], str]:
    """Metric -> (seconds, quality), where both are known, and what quality is."""
    if quality.references:
        name, rows = next(iter(quality.references.items()))
        found = {m: row.overall for m, row in rows.items() if m != CONSENSUS}
    else:
        name = "the consensus of the others (no reference)"
        found = {m: Estimate(value, value, value) for m, value in quality.with_others.items()}
    points = {
        m: (seconds, estimate)
        for m, estimate in found.items()
        if (seconds := quality.cost[m]) is not None and np.isfinite(estimate.value)
    }
    return points, name


def _matrices(quality: Quality) -> dict[str, npt.NDArray[np.float64]]:
    return {
        "Spearman, correlation of ranks": quality.spearman,
        "Pearson, correlation of scores": quality.pearson,
        "Within class, correlation of within-class ranks": quality.within_class,
    }


def _sets_table(quality: Quality) -> Table:
    return Table(
        title="Published FixMatch index sets (0 = outliers, 7 = prototypes)",
        headings=("metric", ORACLE, "Spearman", "percentile of set 0", "of set 7"),
        rows=[
            (
                name,
                use_name(quality.label_use[name]),
                _number(row.spearman),
                _number(row.first),
                _number(row.last),
            )
            for name, row in quality.sets.items()
        ],
    )


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else NONE


def _interval(estimate: Estimate) -> str:
    if not np.isfinite(estimate.value):
        return NONE
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _seconds(cost: float | None) -> str:
    return NONE if cost is None else f"{cost:,.1f}"
