"""`LoopFolder`: the files of a loop, from which alone it is known how far each round has come."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import check_output, locked, read_json, write_json
from fmsel.errors import ArtefactError, OutputError
from fmsel.experiments.loop.plan import Round, Stage
from fmsel.experiments.loop.setup import SCHEMA
from fmsel.fixmatch.run.record import CONFIG, SPLIT, SUMMARY
from fmsel.labeling.page.journal import default_journal
from fmsel.selection.split import Split

LOOP = "loop.json"
ASKED = "asked.json"  # what people are asked for: a split with labels that are awaited
RUN = "run"
LOCK = "loop.lock"  # held by the process at work; the file stays, the hold ends with the process
# What a loop may differ in from its beginning: names of files, and where the images lie.
FREE = (
    *("versions", "dataset.source", "test.source", "restrictions.files"),
    *("embeddings.embeddings.file", "restrictions.embeddings.file", "scores.file"),
)
LISTS = ("budgets", "seeds")  # to which more may be added at the end
# How a difference is told where the name in loop.json does not read as English.
TOLD = {"labels": "source of labels", "strategies": "strategy"}
PLURAL = (
    *("arrays", "budgets", "class names", "embeddings", "needs", "restrictions", "scores"),
    *("seeds", "steps"),
)


@dataclass(frozen=True)
class LoopFolder:
    """One loop on disk.

    Attributes:
        path: the folder; it and what is in it need not exist yet.
    """

    path: Path

    @property
    def begun(self) -> bool:
        return (self.path / LOOP).exists()

    def check_new(self) -> None:
        """Refuse a folder that holds something else; creates nothing.

        Raises:
            OutputError: as said, or it cannot be written to.
        """
        check_output(self.path / LOOP)
        if self.path.is_dir() and any(
            each.suffix != ".tmp" and each.name != LOCK for each in self.path.iterdir()
        ):
            raise OutputError(f"{self.path} is not a loop's folder; choose another --out")

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes out of the folder, which is made where it is missing.

        Raises:
            OutputError: as `fmsel.artefacts.locked`.
        """
        return locked(
            self.path / LOCK,
            f"another process is at work on the loop in {self.path}; wait until it ends, or choose "
            "another --out",
        )

    def begin(self, record: Mapping[str, Any]) -> None:
        """Write loop.json; from then on the loop can be gone on with."""
        write_json(self.path / LOOP, record, force=True)

    def extends(self, record: Mapping[str, Any]) -> bool:
        """Whether this goes on with the loop that is there by more rounds or more seeds.

        Raises:
            ArtefactError: the loop was begun differently; it names the first difference.
        """
        old = read_json(self.path / LOOP, "loop's configuration")
        if old.get("schema_version") != SCHEMA:
            raise ArtefactError(
                f"{self.path / LOOP} has schema_version {old.get('schema_version')!r}; "
                f"this fmsel reads version {SCHEMA}"
            )
        if difference := _difference(old, record):
            raise ArtefactError(
                f"cannot go on with {self.path}: {_told(*difference)}; use what it was begun with, "
                "or another --out"
            )
        return any(old[name] != record[name] for name in LISTS)

    def round(self, each: Round) -> Path:
        """The folder of a round."""
        return self.path / each.folder

    def table(self, each: Round) -> Path:
        """What people fill in for a round; its tasks of Label Studio lie beside it, in .json."""
        return self.round(each) / f"{each.table}.csv"

    def journal(self, each: Round) -> Path:
        """What `fmsel label` saves of a round that waits for labels."""
        return default_journal(self.round(each) / ASKED)

    def run(self, each: Round) -> Path:
        """The run folder of a round."""
        return self.round(each) / RUN

    def stage(self, each: Round) -> Stage:
        """How far a round has come."""
        if (self.run(each) / SUMMARY).exists():
            return Stage.DONE
        if (self.round(each) / SPLIT).exists():
            return Stage.TRAIN
        return Stage.LABEL if (self.round(each) / ASKED).exists() else Stage.CHOOSE

    def trains(self, each: Round) -> bool:
        """Whether the run of a round was started, so that it can be gone on with."""
        return (self.run(each) / CONFIG).exists()

    def keep(self, each: Round, split: Split) -> None:
        """Write the choice of a round: it is asked for where labels are awaited."""
        name = ASKED if split.awaited else SPLIT
        split.save(self.round(each) / name, force=True)

    def split(self, each: Round) -> Split:
        """The labels at the end of a round that was labelled."""
        return Split.load(self.round(each) / SPLIT)

    def asked(self, each: Round) -> Split | None:
        """What people were asked for in a round; None where nobody was."""
        path = self.round(each) / ASKED
        return Split.load(path) if path.exists() else None

    def skipped(self, rounds: Sequence[Round]) -> npt.NDArray[np.int64]:
        """(K,) images that were asked for in these finished rounds of a track and have no label."""
        asked = {index for each in rounds if (found := self.asked(each)) for index in found.indices}
        held = set(self.split(rounds[-1]).indices) if rounds else set[int]()
        return np.array(sorted(asked - held), dtype=np.int64)


def _difference(was: object, now: object, name: str = "") -> tuple[str, object, object] | None:
    """(dotted name, was, now) of the first value in which two configurations differ."""
    if name in FREE or was == now or (name in LISTS and _continues(was, now)):
        return None
    if not isinstance(was, Mapping) or not isinstance(now, Mapping):
        return name, was, now
    pairs = (
        _difference(was.get(key), now.get(key), f"{name}.{key}" if name else key)
        for key in dict.fromkeys([*was, *now])
    )
    return next((found for found in pairs if found), None)


def _continues(was: object, now: object) -> bool:
    """Whether a list begins with another one."""
    return isinstance(was, list) and isinstance(now, list) and now[: len(was)] == was


def _told(name: str, was: object, now: object) -> str:
    """The difference of one value, as a clause."""
    head, *rest = name.split(".")
    told = " ".join([TOLD.get(head, head), *rest]).replace("_", " ")
    verbs = ("were", "they are") if told.endswith(PLURAL) else ("was", "it is")
    return f"its {told} {verbs[0]} {_shown(was)}, now {verbs[1]} {_shown(now)}"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if value is None or isinstance(value, Mapping):
        return "not given" if value is None else "given"
    return str(value)
