"""`RunReader`: a run as its files tell it now, whether it is under way, stopped or finished.

Loads no torch, so that `fmsel watch` starts at once, and changes nothing.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fmsel.fixmatch.status import STATUS

# The names of `fixmatch.run.record`, which loads torch; a test compares them.
CONFIG, METRICS, SUMMARY = "config.json", "metrics.jsonl", "summary.json"
# A run is not heard of once it has been silent for so many seconds, or for so many steps.
SILENT_SECONDS, SILENT_STEPS = 15.0, 4
UNDER_WAY = ("running", "evaluating")


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run at one moment.

    Attributes:
        path: its folder.
        config: config.json.
        rows: the lines of metrics.jsonl, one an evaluation.
        status: status.json; empty for runs of an fmsel that wrote none.
        summary: summary.json; None = not finished.
        age: seconds since it was last heard of, 0 or more.
    """

    path: Path
    config: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    status: Mapping[str, Any]
    summary: Mapping[str, Any] | None
    age: float

    @cached_property
    def state(self) -> str:
        """ "running", "evaluating", "silent", "gone", "stopped", "failed" or "finished".

        "silent" is a run that is under way and was not heard of for long; "gone" one whose process
        ended on this machine without a word.
        """
        if self.summary is not None:
            return "finished"
        said = str(self.status.get("state", "running"))
        if said not in UNDER_WAY:
            return said if said in ("stopped", "failed") else "silent"
        every = SILENT_STEPS if self.status else 2 * self.config["fixmatch"].get("eval_every", 0)
        if self.age < max(SILENT_SECONDS, every / (self.rate or 1.0)):
            return said
        return "gone" if self._process_ended() else "silent"

    def _process_ended(self) -> bool:
        if self.status.get("host") != socket.gethostname() or not self.status.get("pid"):
            return False
        try:
            os.kill(int(self.status["pid"]), 0)  # signal 0 reaches nobody
        except ProcessLookupError:
            return True
        except OSError:
            pass
        return False

    @property
    def steps(self) -> int:
        """Steps in all."""
        return int(self.config["fixmatch"]["steps"])

    @property
    def step(self) -> int:
        """Steps done."""
        if self.summary is not None:
            return int(self.summary.get("steps", self.steps))
        last = self.rows[-1]["step"] if self.rows else 0
        return int(self.status.get("step", last))

    @property
    def rate(self) -> float | None:
        """Steps a second, of late; of the whole run where it is finished."""
        last = self.rows[-1] if self.rows else {}
        said = self.status.get("it_per_s", last.get("it_per_s"))
        value = (self.summary or {}).get("it_per_s", said)
        return None if value is None else float(value)

    @property
    def seconds(self) -> float:
        """Spent in training and evaluation, over all sittings."""
        if self.summary is not None:
            return float(self.summary.get("seconds", 0.0))
        spent = float(self.status.get("seconds", self.rows[-1]["seconds"] if self.rows else 0.0))
        return spent + self.age if self.state in UNDER_WAY and self.status else spent

    @property
    def seconds_left(self) -> float | None:
        """At the pace since the last evaluation but one, evaluations included."""
        if self.state not in UNDER_WAY or not self.status:
            return None
        base = self.rows[-2] if len(self.rows) > 1 else {"step": 0, "seconds": 0.0}
        done, spent = self.step - base["step"], self.status["seconds"] - base["seconds"]
        if done <= 0 or spent <= 0:
            return None
        return max(float((self.steps - self.step) * spent / done - self.age), 0.0)

    def curve(self, name: str) -> list[float | None]:
        """A figure at each evaluation, and what it is now where the run is beyond the last one."""
        values = [row.get(name) for row in self.rows]
        evaluated = self.rows[-1]["step"] if self.rows else 0
        if self.summary is None and name in self.status and self.step > evaluated:
            values.append(self.status[name])
        return values


class RunReader:
    """Reads a run folder again and again; a file that did not change is not read twice.

    Args:
        path: the folder, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._config = _File(path / CONFIG, _config)
        self._rows = _File(path / METRICS, _lines)
        self._status = _File(path / STATUS, _object)
        self._summary = _File(path / SUMMARY, _object)

    def read(self) -> RunView | None:
        """The run now; None where there is none, or none yet."""
        config = self._config.read()
        if config is None:
            return None
        rows, status = self._rows.read() or [], self._status.read() or {}
        heard = [self._status] if status else [self._config, self._rows]
        return RunView(
            path=self.path,
            config=config,
            rows=rows,
            status=status,
            summary=self._summary.read(),
            age=min(file.age for file in heard),
        )


class _File:
    """A file that is parsed again where it changed; what cannot be read now is as it was."""

    def __init__(self, path: Path, parse: Callable[[str], Any]) -> None:
        self._path, self._parse = path, parse
        self._value: Any = None
        self._signature: tuple[int, ...] = ()
        self._written = 0.0  # by the clock of the file's machine
        self._seen = 0.0  # when it was first seen so, by this machine's
        self._changed = False  # whether it was seen changing, so that `_seen` is when it did

    def read(self) -> Any:
        """The parsed value; None where there is no file."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._value, self._signature, self._written = None, (), 0.0
            return None
        except OSError:  # a network file system may stumble
            return self._value
        signature = (found.st_mtime_ns, found.st_size, found.st_ino)
        if signature != self._signature:
            with suppress(OSError, ValueError):
                self._value = self._parse(self._path.read_text(encoding="utf-8"))
            self._seen, self._changed = time.monotonic(), bool(self._signature)
            self._signature, self._written = signature, found.st_mtime
        return self._value

    @property
    def age(self) -> float:
        """Seconds since it was written, however much the two machines' clocks differ."""
        age, seen = time.time() - self._written, time.monotonic() - self._seen
        return seen if self._changed or age < 0 else age


def _object(text: str, *fields: str) -> dict[str, Any]:
    """A JSON object that has these fields; ValueError for anything else."""
    value = json.loads(text)
    if not isinstance(value, dict) or not value.keys() >= set(fields):
        raise ValueError(f"no object with {', '.join(fields)}")
    return value


def _config(text: str) -> dict[str, Any] | None:
    """None of other programs, which also call their configuration so."""
    value = _object(text)
    recipe = value.get("fixmatch")
    return value if isinstance(recipe, dict) and "steps" in recipe else None


def _lines(text: str) -> list[dict[str, Any]]:
    """JSON lines; a last one that is not whole is left out."""
    lines = text.split("\n")
    whole = lines[:-1] if lines[-1] else lines
    return [_object(line, "step", "seconds") for line in whole if line]
