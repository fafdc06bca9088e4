"""`WatchedPlace`: a path that `fmsel watch` was given, and the runs that are to be shown of it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmsel.artefacts import read_json
from fmsel.errors import ArtefactError
from fmsel.experiments.loop.plan import Plan
from fmsel.report.watch_run import CONFIG, SUMMARY, UNDER_WAY, RunReader, RunView

# The names of `experiments.loop.folder`, which loads torch; a test compares them.
LOOP, ASKED, ANSWERED, RUN = "loop.json", "asked.json", "split.json", "run"
TOLD = {"silent": "not heard of", "gone": "without its process"}
DEPTH = 4  # folders below a path in which runs are looked for: tracks/TRACK/round-N/run


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is to be seen at a path.

    Attributes:
        heading: about the path, where it is no run itself or holds none.
        runs: (name, run) of those to be shown.
        done: nothing will change any more.
    """

    heading: str
    runs: tuple[tuple[str, RunView], ...]
    done: bool


class WatchedPlace:
    """A run folder, a loop's folder, or a folder that holds runs; it need not be there yet.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._readers: dict[Path, RunReader] = {}

    def look(self) -> Scene:
        """What is there now."""
        if own := self._reader(self.path).read():
            name = self.path.resolve().name
            return Scene(heading="", runs=((name, own),), done=own.state == "finished")
        found = [(self._name(path), self._reader(path).read()) for path in _run_folders(self.path)]
        runs = [(name, view) for name, view in found if view is not None]
        loop = _loop(self.path)
        if loop is None and not runs:
            return Scene(heading=f"waiting for a run in {self.path}", runs=(), done=False)
        shown = [each for each in runs if each[1].state in UNDER_WAY]
        shown = shown or sorted(runs, key=lambda each: each[1].age)[:1]
        if loop is None:
            heading = f"{self.path} holds {_counts([view for _, view in runs])}"
            return Scene(heading=heading, runs=tuple(shown), done=False)
        heading, done = _progress(self.path, loop)
        return Scene(heading=heading, runs=tuple(shown), done=done)

    def _reader(self, path: Path) -> RunReader:
        return self._readers.setdefault(path, RunReader(path))

    def _name(self, path: Path) -> str:
        """The path below this one, without what all rounds of a loop share."""
        parts = path.relative_to(self.path).parts
        return "/".join(part for part in parts if part not in ("tracks", RUN)) or path.name


def _run_folders(root: Path) -> list[Path]:
    """Folders with a configuration, at most `DEPTH` below `root`, sorted."""
    found = []
    for folder, below, files in os.walk(root):
        path = Path(folder)
        if CONFIG in files:
            found.append(path)
        if CONFIG in files or len(path.relative_to(root).parts) >= DEPTH:
            below.clear()
    return sorted(found)


def _counts(views: list[RunView]) -> str:
    """Such as "3 runs: 2 finished, 1 running"."""
    states = [TOLD.get(view.state, view.state) for view in views]
    each = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return f"{len(views)} run{'s' * (len(views) > 1)}: {', '.join(each)}"


def _loop(path: Path) -> Plan | None:
    """What is to be done by loop.json, where there is one that can be read now."""
    try:
        return _plan(read_json(path / LOOP, "loop's configuration"))
    except (ArtefactError, KeyError, TypeError, AttributeError):
        return None


def _progress(path: Path, plan: Plan) -> tuple[str, bool]:
    """How far a loop is, in words, and whether it is done."""
    rounds = [path / each.folder for each in plan.every]
    finished = sum((each / RUN / SUMMARY).exists() for each in rounds)
    heading = f"{path}: {finished} of {len(rounds)} rounds finished"
    asked = [
        str(each.relative_to(path))
        for each in rounds
        if (each / ASKED).exists() and not (each / ANSWERED).exists()
    ]
    if asked:
        heading += f", labels awaited in {', '.join(asked)}"
    return heading, finished == len(rounds)


def _plan(loop: dict[str, Any]) -> Plan:
    strategies = loop["strategies"]
    trained = {"probabilities", "history"}
    return Plan(
        strategies=tuple(strategies),
        late=frozenset(n for n, each in strategies.items() if trained & set(each["needs"])),
        start=next(iter(loop["start"] or {}), ""),
        seeds=len(loop["seeds"]),
        rounds=len(loop["budgets"]),
    )
