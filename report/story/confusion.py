"""Which classes the final networks take for which, summed over the replicates of each split."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from fmsel.experiments.compare_groups import Group
from fmsel.report.figure import COLOURS, SMALL_SIZE, SOFT, new_figure, plain, set_heading
from fmsel.report.gallery import short_name
from fmsel.report.story.material import Material
from fmsel.report.story.plot import INK, Plot
from fmsel.report.story.section import Block, Heading, Missing, Notes, Plots, Section
from fmsel.report.table import MODES, Table, group_name, label_use

NUMBERED, NAMED = 12, 24  # classes up to which cells hold their numbers, and axes their names
TABLED = 100  # classes up to which counts are given as a table
WIDTH = 4.0  # inches
STRONG = 0.6  # share from which on a cell is dark, so that its number is white
# One hue as strong as the share, over whatever the paper is: readable in light and dark.
STRENGTH = LinearSegmentedColormap.from_list("share", [COLOURS[0] + "00", COLOURS[0]])

IntArray = npt.NDArray[np.int64]


def confusion(material: Material) -> Section | Missing | None:
    """A matrix for each kind of split; None without finished runs."""
    if not material.parts:
        return None
    blocks: list[Block] = []
    for number, part in enumerate(material.parts, 1):
        prefix = f"part{number}-" if len(material.parts) > 1 else ""
        groups = [(at, g, _summed(g)) for at, g in enumerate(part.comparison.groups, 1)]
        plots = [
            _plot(group, counts, f"{prefix}confusion-{at}")
            for at, group, counts in groups
            if counts is not None
        ]
        if prefix:
            blocks.append(Heading(text=part.title))
        if plots:
            blocks.append(Plots(plots=plots))
        if without := [group_name(group) for _, group, counts in groups if counts is None]:
            blocks.append(
                Notes(texts=[f"Not recorded in the runs of an older fmsel: {'; '.join(without)}."])
            )
    if not any(isinstance(each, Plots) for each in blocks):
        reason = "the runs are of an older fmsel, which did not record it; train them again"
        return Missing(title="Confusion matrices", reason=reason)
    return Section(
        name="confusion",
        title="Confusion matrices",
        lead="What the final averaged network takes the test images of each class for: rows are "
        "true classes and add up to 100 %, columns are the classes given.",
        blocks=blocks,
    )


def _summed(group: Group) -> IntArray | None:
    """(C, C) over the replicates that recorded it; None where none did."""
    found = [each.record.confusion for each in group.runs if each.record.confusion is not None]
    return np.sum(found, axis=0, dtype=np.int64) if found else None


def _plot(group: Group, counts: IntArray, name: str) -> Plot:
    names = list(group.runs[0].record.dataset["class_names"])
    title = group_name(group)
    worst = _worst(counts, names)
    return Plot(
        name=name,
        figure=_figure(counts, names, group),
        title=f"Confusion matrix: {title}",
        description=f"Rows: true class; columns: class given; share of the row in %. {worst}",
        table=_table(counts, names, title) if len(names) <= TABLED else None,
    )


def _worst(counts: IntArray, names: Sequence[str]) -> str:
    """The commonest mistake, as a sentence."""
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, _shares(counts))
    row, column = divmod(int(wrong.argmax()), len(counts))
    if not wrong[row, column]:
        return "No mistake."
    return (
        f"The commonest mistake: {wrong[row, column]:.0%} of {names[row]} are taken for "
        f"{names[column]}."
    )


def _shares(counts: IntArray) -> npt.NDArray[np.float64]:
    """(C, C) rows that sum to 1; 0 of classes without test images."""
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _figure(counts: IntArray, names: Sequence[str], group: Group) -> Figure:
    figure, shares, size = new_figure(WIDTH, WIDTH), _shares(counts), len(names)
    axes = figure.subplots()
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal")
    axes.pcolormesh(shares, cmap=STRENGTH, vmin=0, vmax=1, rasterized=size > NAMED)
    axes.spines[:].set_color("#bbbbbb")
    axes.tick_params(length=0, colors=SOFT, labelsize=SMALL_SIZE - 1)
    axes.set_xticks([])
    axes.set_yticks([])
    if size <= NAMED:
        places = np.arange(size) + 0.5
        short = [plain(short_name(name)) for name in names]
        axes.set_xticks(places, short, rotation=90 if max(map(len, short)) > 2 else 0)
        axes.set_yticks(places, short)
    if size <= NUMBERED:
        for row, column in np.argwhere(np.round(100 * shares) > 0):
            share = shares[row, column]
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                fontsize=SMALL_SIZE - 2,
                color="white" if share >= STRONG else INK,
            )
    axes.set_xlabel("class given", fontsize=SMALL_SIZE, color=SOFT)
    axes.set_ylabel("true class", fontsize=SMALL_SIZE, color=SOFT)
    oracle = ", oracle" if label_use(group.split) == "oracle" else ""
    set_heading(axes, group.name, f"{MODES[group.mode]}{oracle}, n={len(group)}")
    return figure


def _table(counts: IntArray, names: Sequence[str], title: str) -> Table:
    return Table(
        title=f"{title}: test images, summed over the replicates; rows: true class, columns: "
        "class given",
        headings=("true class", *names),
        rows=[
            [name, *(f"{count:,}" for count in row)]
            for name, row in zip(names, counts.tolist(), strict=True)
        ],
    )
