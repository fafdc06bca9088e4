"""The table of results, in the same words for the terminal and for a Markdown file."""

from collections.abc import Sequence
from dataclasses import dataclass

from fmsel.experiments.compare import Comparison, Row
from fmsel.experiments.compare_groups import STRATIFIED, Group
from fmsel.experiments.statistics import MIN_REPLICATES, Gain
from fmsel.selection.split import Split

MODES = {"fixmatch": "FixMatch", "supervised": "supervised"}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Text cells under text headings; the first column names the row."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """A GitHub-flavoured Markdown table under its title."""
        rule = ["---", *["---:"] * (len(self.headings) - 1)]
        lines = [f"| {' | '.join(cells)} |" for cells in (self.headings, rule, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines])


def results_table(comparison: Comparison) -> Table:
    """Accuracy of every group, and its gain over the baseline split."""
    headings = ["split", "labels", "label use", "training", "n", "accuracy %"]
    if comparison.baseline:
        headings.append(f"gain over {baseline_name(comparison.baseline)}")
    rows = [_cells(row)[: len(headings)] for row in comparison.rows]
    return Table(title=conditions(comparison), headings=headings, rows=rows)


def added_table(comparison: Comparison) -> Table | None:
    """What FixMatch adds to the labels alone; None where no split was trained both ways."""
    rows = [(row.group.name, format_gain(row.added)) for row in comparison.rows if row.added]
    if not rows:
        return None
    return Table(
        title="What FixMatch adds to training on the same labels alone",
        headings=("split", "gain over supervised-only"),
        rows=rows,
    )


def markdown(comparison: Comparison) -> str:
    """Both tables and the notes that are needed to read them."""
    tables = [results_table(comparison), added_table(comparison)]
    parts = [table.markdown() for table in tables if table]
    return "\n\n".join([*parts, *notes(comparison)]) + "\n"


def notes(comparison: Comparison) -> list[str]:
    """What the figures are, one sentence each."""
    said = [
        "Accuracy is the median of the last 20 evaluations of the EMA weights on the test part "
        "(of the last quarter where that is fewer); mean ± sample standard deviation over n "
        "replicates, each with a new training seed and, for random splits, a new draw.",
        "Gains are differences of means in points, with the Welch 95 % interval; "
        f"n<{MIN_REPLICATES}: too few replicates for one.",
    ]
    if any(label_use(row.group.split) == "oracle" for row in comparison.rows):
        said.append(
            "oracle: the choice read labels that nobody has before labelling, so it shows what is "
            "possible and not what a user would get."
        )
    return said


def conditions(comparison: Comparison) -> str:
    """Data set, labels and steps that all runs share."""
    split = comparison.groups[0].split
    return f"{split.dataset}, {len(split)} labels, {comparison.config.steps:,} steps"


def label_use(split: Split) -> str:
    """ "none", "oracle" or, for imported splits, "unknown"."""
    return split.label_use if split.label_use in ("none", "unknown") else "oracle"


def baseline_name(strategy: str) -> str:
    """What a heading says of the baseline; the stratified one is an oracle itself."""
    return "random" if strategy == "random" else f"{STRATIFIED} (oracle)"


def group_name(group: Group) -> str:
    """What a legend says of a group: training, split, label use and replicates."""
    use = {"none": "", "oracle": ", oracle", "unknown": ", label use unknown"}
    return f"{MODES[group.mode]}, {group.name}{use[label_use(group.split)]} (n={len(group)})"


def format_gain(gain: Gain) -> str:
    """Points with the interval, or with the reason for having none."""
    if gain.low is None or gain.high is None:
        return f"{100 * gain.mean:+.1f} (n<{MIN_REPLICATES})"
    return f"{100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"


def _cells(row: Row) -> list[str]:
    split = row.group.split
    return [
        row.group.name,
        str(len(split)),
        label_use(split),
        MODES[row.group.mode],
        str(len(row.group)),
        f"{100 * row.mean:.1f}" + ("" if row.sd is None else f" ± {100 * row.sd:.1f}"),
        format_gain(row.gain) if row.gain else "–",
    ]
