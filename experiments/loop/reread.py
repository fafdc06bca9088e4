"""A loop on disk, read back without its images: its rounds, and the curves as far as they go."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fmsel.artefacts import read_json
from fmsel.errors import ArtefactError
from fmsel.experiments.loop.folder import LOOP, LoopFolder
from fmsel.experiments.loop.plan import Plan, Stage
from fmsel.experiments.loop.results import LoopResults, results_of
from fmsel.experiments.loop.setup import SCHEMA


@dataclass(frozen=True, kw_only=True)
class LoopRecord:
    """One loop on disk.

    Attributes:
        folder: its files.
        record: loop.json, whole.
        plan: all of its rounds.
        done: the first rounds that every track has finished, 0 to `plan.rounds`.
        results: the curves over those rounds; None where there are none.
    """

    folder: LoopFolder
    record: Mapping[str, Any]
    plan: Plan
    done: int
    results: LoopResults | None


def reread_loop(path: Path) -> LoopRecord:
    """Read a loop's folder, whether it is finished or not.

    Raises:
        ArtefactError: no loop, one of another version, or a broken one.
    """
    record, folder = read_json(path / LOOP, "loop's configuration"), LoopFolder(path)
    if record.get("schema_version") != SCHEMA:
        raise ArtefactError(
            f"{path / LOOP} has schema_version {record.get('schema_version')!r}; "
            f"this fmsel reads version {SCHEMA}"
        )
    try:
        plan = _plan(record)
        done = _done(plan, folder)
        results = results_of(replace(plan, rounds=done), folder, record) if done else None
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{path / LOOP} is broken: it lacks {error}") from error
    return LoopRecord(folder=folder, record=record, plan=plan, done=done, results=results)


def _plan(record: Mapping[str, Any]) -> Plan:
    strategies = record["strategies"]
    late = [
        name
        for name, each in strategies.items()
        if not {"probabilities", "history"}.isdisjoint(each["needs"])
    ]
    return Plan(
        strategies=tuple(strategies),
        late=frozenset(late),
        start=next(iter(record["start"] or {}), ""),
        seeds=len(record["seeds"]),
        rounds=len(record["budgets"]),
    )


def _done(plan: Plan, folder: LoopFolder) -> int:
    return min(
        next(
            (each.number for each in track if folder.stage(each) is not Stage.DONE),
            plan.rounds,
        )
        for track in plan.tracks
    )
