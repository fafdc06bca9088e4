"""Which choice of labelled images was better, and how sure are we?"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmsel.experiments.compare_groups import FinishedRun, Group, find_runs, group_runs
from fmsel.experiments.statistics import Gain, standard_deviation, welch_gain
from fmsel.fixmatch.config import FixMatchConfig

BASELINES = ("random", "random_stratified")  # the first one present; the second is an oracle


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One line of the table of results. Accuracies and gains are shares in 0..1 (not percent).

    Attributes:
        group: the replicates.
        mean: mean of their reported accuracies.
        sd: sample standard deviation over the replicates; None for one.
        gain: over the baseline split with the same mode; None for the baseline itself, or where
            no such runs were given.
        added: gain of FixMatch over supervised-only training on the same kind of split; None for
            supervised-only rows, or where no such runs were given.
    """

    group: Group
    mean: float
    sd: float | None
    gain: Gain | None
    added: Gain | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A table of results.

    Attributes:
        rows: FixMatch first, then supervised-only; the baseline first in each.
        baseline: the strategy that gains are measured from: "random", which reads no labels, else
            "random_stratified" (an oracle), else None.
    """

    rows: tuple[Row, ...]
    baseline: str | None

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(row.group for row in self.rows)

    @property
    def config(self) -> FixMatchConfig:
        """The recipe that all runs share."""
        return self.groups[0].runs[0].record.config

    def as_dict(self) -> dict[str, Any]:
        """JSON-able record: the conditions, then every row with the runs behind it."""
        split = self.groups[0].split
        return {
            "dataset": split.dataset,
            "images_sha256": split.images_sha256,
            "labels": len(split),
            "config": self.config.as_dict(),
            "accuracy": "median of the last 20 evaluations of the EMA weights on the test part; "
            "of the last quarter where that is fewer",
            "gain": "difference of means; Welch 95 % interval from three replicates on each side",
            "baseline": self.baseline,
            "rows": [_row_dict(row) for row in self.rows],
        }


def compare_runs(paths: Iterable[str | Path]) -> Comparison:
    """Compare the runs at `paths` (run folders, folders of them, or patterns).

    Raises:
        ArtefactError: as `find_runs`.
        OptionError: the runs cannot be compared; see `group_runs`.
    """
    return comparison_of(find_runs(paths))


def comparison_of(runs: Sequence[FinishedRun]) -> Comparison:
    """Compare runs that are in memory.

    Raises:
        OptionError: as `group_runs`.
    """
    groups = group_runs(runs)
    used = {group.split.strategy for group in groups}
    baseline = next((name for name in BASELINES if name in used), None)
    ordered = sorted(
        groups, key=lambda group: (group.mode, group.split.strategy != baseline, group.name)
    )
    return Comparison(
        rows=tuple(_row(group, groups, baseline) for group in ordered), baseline=baseline
    )


def _row(group: Group, groups: Sequence[Group], baseline: str | None) -> Row:
    def gain_over(other: Group | None) -> Gain | None:
        if other is None or other is group:
            return None
        return welch_gain(group.accuracies, other.accuracies)

    peers = (g for g in groups if g.mode == group.mode and g.split.strategy == baseline)
    plain = (
        g
        for g in groups
        if (group.mode, g.mode) == ("fixmatch", "supervised") and g.name == group.name
    )
    return Row(
        group=group,
        mean=float(np.mean(group.accuracies)),
        sd=standard_deviation(group.accuracies),
        gain=gain_over(next(peers, None)),
        added=gain_over(next(plain, None)),
    )


def _row_dict(row: Row) -> dict[str, Any]:
    split = row.group.split
    return {
        "split": row.group.name,
        "strategy": split.strategy,
        "parameters": dict(split.parameters),
        "labels": len(split),
        "label_use": split.label_use,
        "mode": row.group.mode,
        "n": len(row.group),
        "mean": row.mean,
        "sd": row.sd,
        "gain": None if row.gain is None else asdict(row.gain),
        "fixmatch_over_supervised": None if row.added is None else asdict(row.added),
        "runs": {
            str(each.record.path): {
                "seed": each.record.seed,
                "split_seed": each.split.seed,
                "split_sha256": each.split.sha256,
                "accuracy": each.accuracy,
            }
            for each in row.group.runs
        },
    }
