"""`LoopResults`: learning curves of a finished loop, and what they say."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fmsel.experiments.compare import BASELINES
from fmsel.experiments.loop.folder import LoopFolder
from fmsel.experiments.loop.plan import Plan, Round
from fmsel.experiments.loop.setup import Setup
from fmsel.experiments.loop.statistics import (
    Pair,
    Tally,
    curve_area,
    mean_interval,
    paired_gain,
    tally,
)
from fmsel.experiments.statistics import Gain, standard_deviation
from fmsel.fixmatch.run.record import RunRecord


@dataclass(frozen=True)
class Track:
    """The learning curve of one strategy and seed.

    Attributes:
        seed: of choices and training.
        labels: R numbers of labels; below the budget where people skipped images, and above it
            where they labelled those later.
        accuracies: R reported accuracies in 0..1; None where the test part has no labels.
        rounds: R places in the loop's folder.
    """

    seed: int
    labels: tuple[int, ...]
    accuracies: tuple[float | None, ...]
    rounds: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A strategy beside a baseline, over tracks with the same seeds.

    Attributes:
        tally: over all pairs of seed and budget; shared runs are ties.
        gain: in area under the curve, paired by seed.
    """

    tally: Tally
    gain: Gain


@dataclass(frozen=True, kw_only=True)
class Row:
    """One strategy. Accuracies, areas and gains are shares in 0..1 (not percent).

    Attributes:
        strategy: its name.
        label_use: how far its last choices read labels that nobody has yet.
        start: the strategy of its first round, where that is another one.
        tracks: one a seed.
        against: baseline -> how it compares; none for the baseline itself.
    """

    strategy: str
    label_use: str
    start: str | None
    tracks: tuple[Track, ...]
    against: Mapping[str, Rival]

    @property
    def oracle(self) -> bool:
        return self.label_use != "none"

    @property
    def labels(self) -> list[float]:
        """(R,) mean numbers of labels over the tracks."""
        return [float(np.mean(each)) for each in zip(*(t.labels for t in self.tracks), strict=True)]

    @property
    def accuracies(self) -> list[list[float]]:
        """(R, n) accuracies; empty where there are none."""
        return [list(each) for each in zip(*map(measured, self.tracks), strict=True)]

    @property
    def areas(self) -> list[float]:
        """(n,) areas under the curves; empty where there are no accuracies."""
        return [curve_area(each.labels, found) for each in self.tracks if (found := measured(each))]


@dataclass(frozen=True, kw_only=True)
class LoopResults:
    """A finished loop.

    Attributes:
        dataset: its name.
        budgets: R numbers of labels.
        training: such as "FixMatch, small-conv-32, 400 steps".
        rows: a strategy each, in the order in which they were named.
        evaluated: whether there are accuracies at all.
    """

    dataset: str
    budgets: tuple[int, ...]
    training: str
    rows: tuple[Row, ...]
    evaluated: bool

    @property
    def seeds(self) -> int:
        """Tracks a strategy, n."""
        return len(self.rows[0].tracks)

    @property
    def baselines(self) -> tuple[str, ...]:
        """The random strategies that were run."""
        names = [row.strategy for row in self.rows]
        return tuple(each for each in BASELINES if each in names)

    @property
    def short(self) -> bool:
        """Whether some track has fewer labels than its budget, as people skipped images."""
        return any(own < budget for own, budget in self._labels)

    @property
    def beyond(self) -> bool:
        """Whether some has more, as people labelled skipped images later."""
        return any(own > budget for own, budget in self._labels)

    @property
    def _labels(self) -> list[tuple[int, int]]:
        """Labels and budget of every round of every track."""
        tracks = (track for row in self.rows for track in row.tracks)
        return [pair for track in tracks for pair in zip(track.labels, self.budgets, strict=True)]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able record of all figures; the same for the same loop, however it was stopped."""
        return {
            "dataset": self.dataset,
            "training": self.training,
            "budgets": list(self.budgets),
            "accuracy": "median of the last 20 evaluations of the EMA weights on the test part; "
            "of the last quarter where that is fewer",
            "area": "under accuracy over the logarithm of the labels, by trapezoids, divided by "
            "the width: an average accuracy",
            "tally": "over pairs of seed and budget; equal accuracies are ties",
            "gain": "mean difference of areas; Student's 95 % interval for pairs of one seed, from "
            "three seeds",
            "rows": [_row_dict(row) for row in self.rows],
        }


def read_results(setup: Setup, folder: LoopFolder) -> LoopResults:
    """The curves of a loop whose rounds are all done.

    Raises:
        ArtefactError: a broken run.
    """
    return results_of(setup.plan, folder, setup.as_dict())


def results_of(plan: Plan, folder: LoopFolder, record: Mapping[str, Any]) -> LoopResults:
    """The curves of the rounds of a plan, all of which are done.

    Args:
        plan: the loop's, or its first rounds alone.
        folder: where the rounds lie.
        record: what loop.json holds.
    Raises:
        ArtefactError: a broken run.
    """
    tracks = {
        name: tuple(_track(folder, plan.track(name, seed), seed) for seed in range(plan.seeds))
        for name in plan.strategies
    }
    rows = [
        Row(
            strategy=name,
            label_use=folder.split(plan.track(name, 0)[-1]).label_use,
            start=plan.start if name in plan.late else None,
            tracks=own,
            against={
                other: _rival(own, tracks[other])
                for other in BASELINES
                if other in tracks and other != name and measured(own[0])
            },
        )
        for name, own in tracks.items()
    ]
    return LoopResults(
        dataset=record["dataset"]["dataset"],
        budgets=tuple(record["budgets"][: plan.rounds]),
        training=_training(record["training"]),
        rows=tuple(rows),
        evaluated=all(measured(track) for own in tracks.values() for track in own),
    )


def _training(record: Mapping[str, Any]) -> str:
    mode = "supervised only" if record["mode"] == "supervised" else "FixMatch"
    warm = ", warm start" if record["warm_start"] else ""
    recipe = record["fixmatch"]
    return f"{mode}, {recipe['arch']}, {recipe['steps']:,} steps{warm}"


def measured(track: Track) -> list[float]:
    """(R,) accuracies; none where the test part has no labels."""
    return [each for each in track.accuracies if each is not None]


def _track(folder: LoopFolder, rounds: Sequence[Round], seed: int) -> Track:
    runs = [RunRecord.load(folder.run(each)) for each in rounds]
    return Track(
        seed=seed,
        labels=tuple(len(folder.split(each)) for each in rounds),
        accuracies=tuple(run.accuracy for run in runs),
        rounds=tuple(each.folder.as_posix() for each in rounds),
    )


def _rival(own: Sequence[Track], other: Sequence[Track]) -> Rival:
    def area(track: Track) -> float:
        return curve_area(track.labels, measured(track))

    return Rival(
        tally=tally(_pairs(own), _pairs(other)),
        gain=paired_gain(list(map(area, own)), list(map(area, other))),
    )


def _pairs(tracks: Sequence[Track]) -> dict[Pair, float]:
    return {
        (track.seed, number): accuracy
        for track in tracks
        for number, accuracy in enumerate(measured(track))
    }


def _row_dict(row: Row) -> dict[str, Any]:
    curve = [
        {
            "labels": labels,
            "mean": float(np.mean(values)),
            "sd": standard_deviation(values),
            "interval": mean_interval(values),
        }
        for labels, values in zip(row.labels, row.accuracies, strict=False)
    ]
    areas = row.areas
    return {
        "strategy": row.strategy,
        "label_use": row.label_use,
        "start": row.start,
        "n": len(row.tracks),
        "curve": curve,
        "area": {"mean": float(np.mean(areas)), "sd": standard_deviation(areas)} if areas else None,
        "against": {
            name: {"tally": each.tally._asdict(), "gain": asdict(each.gain)}
            for name, each in row.against.items()
        },
        "tracks": [asdict(track) for track in row.tracks],
    }
