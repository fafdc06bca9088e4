"""Figures over the training steps: accuracy and loss on both parts, and the pseudo-labels."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fmsel.experiments.compare_groups import Group
from fmsel.report.figure import SMALL_SIZE, SOFT, clean_axes, new_figure, plain, set_heading
from fmsel.report.story.looks import DASHES, Look
from fmsel.report.story.material import Material, Part
from fmsel.report.story.plot import Plot
from fmsel.report.story.section import Block, Heading, Missing, Notes, Plots, Section
from fmsel.report.table import Table, group_name

WIDTH, HEIGHT, LINE = 4.0, 2.9, 0.19  # inches, and those of a line of the legend
LETTERS = 38  # of a line of the legend
SHOWN = 12  # evaluations in a figure's table
MARKED = 8  # evaluations up to which each bears a marker, as a lone one has no line
BAND = "mean of n replicates, band: worst to best"

FloatArray = npt.NDArray[np.float64]


class Measure(NamedTuple):
    """One field of metrics.jsonl, and how it is told."""

    name: str  # of the figure
    field: str
    title: str
    meaning: str
    share: bool = True  # in 0..1, shown in %


TRAINING = (
    Measure(
        "accuracy-test",
        "ema_accuracy",
        "Test accuracy",
        "Share of the test part that the averaged (EMA) network gets right.",
    ),
    Measure(
        "accuracy-train",
        "accuracy_labelled",
        "Training accuracy",
        "Share of the augmented labelled images that the network got right as it learned from "
        "them, over the steps since the evaluation before.",
    ),
    Measure(
        "loss-test",
        "ema_loss",
        "Test loss",
        "Mean cross-entropy of the averaged (EMA) network on the test part, in nats.",
        share=False,
    ),
    Measure(
        "loss-train",
        "loss_labelled",
        "Training loss",
        "Mean cross-entropy on the labelled batches, in nats, over the steps since the evaluation "
        "before.",
        share=False,
    ),
)
PSEUDO = (
    Measure(
        "mask-rate",
        "mask_rate",
        "Mask rate",
        "Mean weight of the unlabelled images: the share that has a pseudo-label.",
    ),
    Measure(
        "pseudo-accuracy",
        "pseudo_label_accuracy",
        "Pseudo-label accuracy",
        "Share of right pseudo-labels, by weight. An oracle: it reads labels that a user does not "
        "have.",
    ),
    Measure(
        "largest-class",
        "largest_class_share",
        "Largest class share",
        "Share of the pseudo-labels that the commonest class has; near 1 the training collapsed.",
    ),
)


def training(material: Material) -> Section | None:
    """Accuracy and loss; None without finished runs."""
    return _section(
        material,
        TRAINING,
        name="training",
        title="Accuracy and loss",
        lead="How the networks learned, on the labelled training images and on the test part.",
    )


def pseudo_labels(material: Material) -> Section | Missing | None:
    """Mask rate, accuracy and largest class of the pseudo-labels."""
    if not material.parts:
        return None
    found = _section(
        material,
        PSEUDO,
        name="pseudo-labels",
        title="Pseudo-labels",
        lead="What FixMatch learned from the unlabelled images: how many of them had a "
        "pseudo-label, and how right those were.",
    )
    if found is None or not found.plots:
        return Missing(title="Pseudo-labels", reason="no run learned from unlabelled images")
    return found


def _section(
    material: Material, measures: Sequence[Measure], *, name: str, title: str, lead: str
) -> Section | None:
    if not material.parts:
        return None
    several = len(material.parts) > 1
    blocks: list[Block] = []
    for number, part in enumerate(material.parts, 1):
        if several:
            blocks.append(Heading(text=part.title))
        prefix = f"part{number}-" if several else ""
        blocks += _part(part, measures, material.looks, prefix)
    return Section(name=name, title=title, lead=lead, blocks=blocks)


def _part(
    part: Part, measures: Sequence[Measure], styles: Mapping[str, Look], prefix: str
) -> Iterator[Block]:
    comparison = part.comparison
    drawn, unknown, nothing = [], [], []
    for measure in measures:
        curves = {group_name(g): (g, _curves(g, measure.field)) for g in comparison.groups}
        there = {name: each for name, each in curves.items() if np.isfinite(each[1]).any()}
        if there:
            drawn.append(_plot(measure, there, styles, prefix))
        elif any(measure.field in row for g in comparison.groups for row in g.runs[0].record.rows):
            nothing.append(measure.title.lower())
        else:
            unknown.append(measure.title.lower())
    if drawn:
        yield Plots(plots=drawn)
    if unknown:
        yield Notes(
            texts=[
                f"Not recorded in these runs: {', '.join(unknown)}; runs that this fmsel trains "
                "record it."
            ]
        )
    if nothing and any(group.mode == "fixmatch" for group in comparison.groups):
        yield Notes(
            texts=[
                f"Never measured in these runs: {', '.join(nothing)}; no image had a pseudo-label, "
                "or none whose label is known."
            ]
        )


def _curves(group: Group, field: str) -> FloatArray:
    """(replicates, E); nan where it was not measured."""
    return np.stack([each.record.series(field) for each in group.runs])


Curves = Mapping[str, tuple[Group, FloatArray]]  # name in the legend -> group, (n, E)


def _plot(measure: Measure, curves: Curves, styles: Mapping[str, Look], prefix: str) -> Plot:
    several = len({group.name for group, _ in curves.values()}) < len(curves)
    return Plot(
        name=f"{prefix}{measure.name}",
        figure=_figure(measure, curves, styles),
        title=f"{measure.title} over the training steps",
        description=f"{measure.meaning} Line: {BAND}."
        + (" Solid: FixMatch, dashed: supervised only." if several else ""),
        table=_table(measure, curves),
    )


def _figure(measure: Measure, curves: Curves, styles: Mapping[str, Look]) -> Figure:
    labels = {name: fill(plain(name), LETTERS) for name in curves}
    lines = sum(label.count("\n") + 1 for label in labels.values())
    figure = new_figure(WIDTH, HEIGHT + LINE * lines)
    axes = figure.subplots()
    scale, last, highest = (100 if measure.share else 1), 0, 0.0
    for name, (group, values) in curves.items():
        steps, look = group.runs[0].record.steps, styles[group.name]
        mean, low, high = (scale * each for each in _summary(values))
        axes.plot(
            steps,
            mean,
            color=look.colour,
            linestyle=DASHES[group.mode],
            marker=look.marker,
            markevery=(0.1, 0.2) if np.isfinite(mean).sum() > MARKED else None,
            markersize=5,
            clip_on=False,
            lw=2,
            label=labels[name],
        )
        axes.fill_between(steps, low, high, color=look.colour, alpha=0.15, lw=0)
        last, highest = max(last, int(steps[-1])), max(highest, np.nanmax(high))
    clean_axes(axes)
    axes.set_xlim(0, last)
    axes.set_ylim(0, 1.06 * highest or 1)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.tick_params(axis="x", pad=6)  # clear of the 0 of the other axis
    axes.set_xlabel("training step", fontsize=SMALL_SIZE, color=SOFT)
    if measure.share:
        axes.yaxis.set_major_formatter("{x:g} %")
    figure.legend(loc="outside lower left", frameon=False, fontsize=SMALL_SIZE, handlelength=3.5)
    set_heading(axes, measure.title, BAND)
    return figure


def _summary(values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(E,) each: mean, worst and best of the replicates; nan where none measured it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of evaluations that nobody measured
        return np.nanmean(values, 0), np.nanmin(values, 0), np.nanmax(values, 0)


def _table(measure: Measure, curves: Curves) -> Table:
    """The means at some evaluations, the last one included."""
    group, _ = next(iter(curves.values()))
    steps = group.runs[0].record.steps
    places = np.unique(np.linspace(0, len(steps) - 1, min(SHOWN, len(steps))).astype(int))
    means = {name: _summary(values)[0] for name, (_, values) in curves.items()}
    unit = " (%)" if measure.share else ""
    return Table(
        title=f"{measure.title}{unit}, mean of the replicates",
        headings=("step", *means),
        rows=[
            [f"{steps[at]:,}", *(_cell(mean[at], measure.share) for mean in means.values())]
            for at in places
        ],
    )


def _cell(value: float, share: bool) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{100 * value:.1f}" if share else f"{value:.3f}"
