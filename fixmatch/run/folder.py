"""`RunFolder`: the files of one run, each written atomically."""

import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fmsel.artefacts import check_output, locked, read_json, write_json, write_text
from fmsel.errors import ArtefactError, OutputError
from fmsel.fixmatch.run.events import FOLDER as EVENTS
from fmsel.fixmatch.run.events import EventFiles
from fmsel.fixmatch.run.record import (
    CHECKPOINTS,
    CONFIG,
    METRICS,
    OUTPUTS,
    SCHEMA,
    SPLIT,
    SUMMARY,
)
from fmsel.selection.split import Split
from fmsel.training.engine.checkpoint import load_checkpoint, save_checkpoint

LOCK = "run.lock"  # held by the process that trains; the file stays
KEPT = 2  # checkpoints, so that one may break
OLD_CHECKPOINT = "checkpoint.pt"  # what fmsel wrote before it had a folder of them

# What a resumed run must share with its beginning, and how a message calls it.
IDENTITY = {
    "mode": ("mode",),
    "seed": ("seed",),
    "precision": ("precision",),
    "deterministic": ("deterministic",),
    "images (sha256)": ("dataset", "images_sha256"),
    "labels (sha256)": ("dataset", "labels_sha256"),
    "split (sha256)": ("split", "sha256"),
    "test images (sha256)": ("test", "images_sha256"),
    "test labels (sha256)": ("test", "labels_sha256"),
    "kept history": ("history",),
    "run to start from": ("init", "run"),
    "step to start from": ("init", "step"),
    "configuration to start from (sha256)": ("init", "config_sha256"),
}
# What it must share besides, if it is to have the same bits.
EXACT: dict[str, tuple[str, ...]] = {
    "mode of its steps": ("execution",),
    "device": ("device",),
    "number of processes": ("processes",),
}
# And what it must be gone on with; one that is finished keeps its bits.
GONE_ON_WITH: dict[str, tuple[str, ...]] = {"torch": ("versions", "torch")}


@dataclass(frozen=True)
class RunFolder:
    """Writes and resumes one run folder; `RunRecord` reads finished ones.

    Attributes:
        path: the folder.
        events: where metrics go besides metrics.jsonl.
    """

    path: Path
    events: EventFiles | None = None

    def check_new(self, force: bool) -> None:
        """Refuse a folder that exists (without `force`), is no run or is being trained.

        Makes no file but `LOCK` in a run's folder.

        Raises:
            OutputError: as said.
        """
        names: set[str] = set()
        if self.path.is_dir():
            names = {each.name for each in self.path.iterdir() if each.suffix != ".tmp"}
        if self.path.exists() and names != {LOCK} and not force:  # that alone: killed as it began
            raise OutputError(
                f"{self.path} already exists; pass --resume to go on with it, "
                "--force to replace it, or --out elsewhere"
            )
        filled = bool(names - {LOCK})
        if self.path.is_file() or (filled and not self._is_run()):
            raise OutputError(f"{self.path} is not a run folder; choose another --out")
        if filled:
            with self.locked(shared=True):
                pass

    @property
    def begun(self) -> bool:
        return (self.path / CONFIG).exists()

    def _is_run(self) -> bool:
        """Whether fmsel made the folder, also where its configuration has been spoilt since."""
        try:
            return "fixmatch" in read_json(self.path / CONFIG, "run configuration")
        except ArtefactError:
            return self.begun and ((self.path / SPLIT).exists() or bool(self._checkpoints()))

    def locked(self, shared: bool = False) -> AbstractContextManager[None]:
        """Keep other processes from training into the folder, which is made where it is missing.

        Args:
            shared: only ask whether one does.
        Raises:
            OutputError: as `fmsel.artefacts.locked`.
        """
        return locked(
            self.path / LOCK,
            f"another process is training {self.path}; wait until it ends or stop it, or choose "
            "another --out",
            shared,
        )

    def begin(self, config: Mapping[str, Any], split: Split) -> None:
        """Replace what an old run left by the files of a new one.

        The configuration comes first: from then on the folder can be resumed or replaced.
        """
        check_output(self.path / CONFIG, force=True)
        files = [self.path / name for name in (SUMMARY, METRICS, OUTPUTS, OLD_CHECKPOINT)]
        for old in files + self._checkpoints():
            old.unlink(missing_ok=True)
        shutil.rmtree(self.path / EVENTS, ignore_errors=True)
        write_json(self.path / CONFIG, {"schema_version": SCHEMA, **config}, force=True)
        split.save(self.path / SPLIT, force=True)

    def check_same(self, config: Mapping[str, Any]) -> None:
        """Refuse to go on with a run that was started differently.

        Raises:
            ArtefactError: no run here, or it names the first difference.
        """
        if not self.begun:
            raise ArtefactError(f"there is no run to resume in {self.path}; train without --resume")
        if difference := self._difference(config, EXACT | GONE_ON_WITH):
            name, was, now = difference
            raise ArtefactError(
                f"cannot resume {self.path}: its {name} was {was}, now it is {now}; "
                "use what it was started with, or another --out"
            )

    def finished_as(self, config: Mapping[str, Any]) -> bool:
        """Whether the run that `config` describes is here, and finished.

        Raises:
            ArtefactError: the finished run's config.json cannot be read.
        """
        return (self.path / SUMMARY).exists() and self._difference(config, EXACT) is None

    def _difference(
        self, config: Mapping[str, Any], exact: Mapping[str, tuple[str, ...]]
    ) -> tuple[str, Any, Any] | None:
        """(name, was, now) of the first thing in which the run here is another than `config`.

        Args:
            exact: as `EXACT`; what counts besides where `config` is deterministic.
        """
        old = read_json(self.path / CONFIG, "run configuration")
        names = {f"setting {key}": ("fixmatch", key) for key in config["fixmatch"]}
        wanted = {**IDENTITY, **(exact if config["deterministic"] else {}), **names}
        for name, keys in wanted.items():
            was, now = _value(old, keys), _value(config, keys)
            if was != now:
                return name, was, now
        return None

    def save(
        self, tensors: Mapping[str, Any], state: Mapping[str, Any], rows: Sequence[Any]
    ) -> None:
        """Write the checkpoint of `state["step"]`, then the metrics that belong to it.

        The last `KEPT` checkpoints stay; what a killed process left half written does not.
        """
        path = self.path / CHECKPOINTS / f"step-{state['step']:08d}.safetensors"
        save_checkpoint(path, tensors, state)
        self.write_rows(rows)
        found = self._checkpoints()
        kept = [each for each in found if each.name <= path.name][:KEPT]
        for old in {*found, *path.parent.glob(".step-*.tmp")} - set(kept):
            old.unlink(missing_ok=True)

    def go_on(self, split: Split, rows: Sequence[Any]) -> None:
        """Make the other files agree with the checkpoint, whenever the run was killed."""
        split.save(self.path / SPLIT, force=True)
        self.write_rows(rows)

    def write_rows(self, rows: Sequence[Any]) -> None:
        """Replace metrics.jsonl; add to the events."""
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_text(self.path / METRICS, lines, force=True)
        if self.events is not None:
            self.events.write(rows)

    def restore(self, device: torch.device) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """(tensors, state) of the newest good checkpoint; None where the run has none yet.

        Warns of broken ones that are newer. Changes nothing.

        Raises:
            ArtefactError: there are checkpoints, but no good one.
        """
        broken: list[str] = []
        for path in self._checkpoints():
            try:
                saved = load_checkpoint(path, device)
            except ArtefactError:
                broken.append(str(path))
                continue
            if broken:
                names = ", ".join(broken)
                warnings.warn(f"left out {names}, which is broken; using {path}", stacklevel=2)
            return saved
        if broken:
            raise ArtefactError(f"no checkpoint of {self.path} is whole; train again with --force")
        if (self.path / OLD_CHECKPOINT).exists():
            raise ArtefactError(
                f"{self.path / OLD_CHECKPOINT} is of an older fmsel, which wrote checkpoints of "
                "another form; train again with --force"
            )
        return None

    def started_from(self) -> Mapping[str, Any] | None:
        """What is on record of the run that this one started from.

        None where there is no such run, or no checkpoint yet, so that it is still needed.
        """
        if not self._checkpoints():
            return None
        config = read_json(self.path / CONFIG, "run configuration")
        origin: Mapping[str, Any] | None = config.get("init")
        return origin

    def _checkpoints(self) -> list[Path]:
        """The newest first."""
        return sorted((self.path / CHECKPOINTS).glob("step-*.safetensors"), reverse=True)

    def finish(self, summary: Mapping[str, Any]) -> None:
        write_json(self.path / SUMMARY, summary, force=True)


def _value(config: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config
