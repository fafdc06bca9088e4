"""status.json: what a run tells those who watch it, and that telling changes nothing."""

import dataclasses
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from test_fixmatch_run import (
    DATA,
    FP32,
    SPLIT,
    TEST,
    TINY,
    assert_equal_state,
    checkpoint_of,
    rows_of,
    stop_after,
)

from fmsel.errors import FmselError, Interrupted, OutputError
from fmsel.fixmatch import status
from fmsel.fixmatch.run import train
from fmsel.fixmatch.run.meters import Means
from fmsel.fixmatch.status import KEPT, STATUS, WRITE_EVERY, RunStatus

ONES: dict[str, Any] = {field.name: 1.0 for field in dataclasses.fields(Means)}
MEANS = Means(**{**ONES, "mask_rate": 0.4})


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("fmsel.fixmatch.status.time.monotonic", made)
    return made


def said(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / STATUS).read_text())
    return found


def begun(run: Path, resumed: bool = False) -> RunStatus:
    made = RunStatus(run)
    made.begin(step=0, steps=10, seconds=0.0, resumed=resumed)
    return made


def update(made: RunStatus, step: int) -> None:
    made.update(step=step, seconds=float(step), it_per_s=2.0, means=MEANS)


def test_a_run_under_way_is_written_every_two_seconds_at_most(tmp_path: Path, clock: Clock) -> None:
    made = begun(tmp_path)
    written = []
    for step in range(1, 101):
        clock.now += 0.125
        update(made, step)
        made.beat("evaluating")
        written.append(said(tmp_path)["step"])
    every = round(WRITE_EVERY / 0.125)
    assert written == [step // every * every for step in range(1, 101)]
    made.end("stopped", "why", step=100)
    found = said(tmp_path)
    assert (found["state"], found["step"], found["message"]) == ("stopped", 100, "why")
    assert (found["pid"], found["mask_rate"], found["steps"]) == (os.getpid(), 0.4, 10)
    assert [path.name for path in tmp_path.iterdir()] == [STATUS]


def test_nothing_is_written_before_the_run_begins(tmp_path: Path, clock: Clock) -> None:
    made = RunStatus(tmp_path)
    clock.now += 100
    update(made, 1)
    made.end("failed", message="refused")
    assert list(tmp_path.iterdir()) == []


def test_a_status_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    made = begun(tmp_path / "missing")
    made.end("finished")
    assert not (tmp_path / "missing").exists()


def test_the_last_warnings_are_kept_and_shown_and_survive_a_restart(tmp_path: Path) -> None:
    with pytest.warns(UserWarning) as shown:
        made = begun(tmp_path)
        with made.hears_warnings():
            for number in range(KEPT + 3):
                warnings.warn(f"warning {number}", stacklevel=1)
        warnings.warn("not of this run", stacklevel=1)
    made.end("stopped")
    texts = [f"warning {number}" for number in range(KEPT + 3)]
    assert [str(each.message) for each in shown] == [*texts, "not of this run"]
    assert [each["text"] for each in said(tmp_path)["warnings"]] == texts[3:]
    again = begun(tmp_path, resumed=True)
    with pytest.warns(UserWarning), again.hears_warnings():
        warnings.warn("one more", stacklevel=1)
    again.end("finished")
    assert [each["text"] for each in said(tmp_path)["warnings"]] == [*texts[4:], "one more"]
    begun(tmp_path)
    assert said(tmp_path)["warnings"] == []


def test_a_run_says_how_it_ended_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        stop_after(5, patched)
        with pytest.raises(Interrupted):
            train(SPLIT, DATA, TEST, TINY, out, **FP32)
    stopped = said(out)
    assert (stopped["state"], stopped["step"], stopped["steps"]) == ("stopped", 5, 12)
    assert "give the same command with --resume" in stopped["message"]
    summary = train(SPLIT, DATA, TEST, TINY, out, resume=True, **FP32)
    finished = said(out)
    assert (finished["state"], finished["step"]) == ("finished", 12)
    assert 0 < finished["seconds"] <= summary["seconds"]


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    broken = type(TINY)(**{**TINY.as_dict(), "lr": 1e30})
    with pytest.raises(FmselError, match="nan or infinite") as failure:
        train(SPLIT, DATA, TEST, broken, tmp_path / "run", **FP32)
    found = said(tmp_path / "run")
    assert (found["state"], found["message"]) == ("failed", str(failure.value))


def test_a_refused_run_leaves_the_status_of_the_one_that_is_there(tmp_path: Path) -> None:
    train(SPLIT, DATA, TEST, TINY, tmp_path / "run", **FP32)
    before = (tmp_path / "run" / STATUS).read_bytes()
    with pytest.raises(OutputError, match="already exists"):
        train(SPLIT, DATA, TEST, TINY, tmp_path / "run", **FP32)
    assert (tmp_path / "run" / STATUS).read_bytes() == before


def test_telling_changes_no_bit_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(RunStatus, "update", lambda *_, **__: None)
        patched.setattr(RunStatus, "_write", lambda _: None)
        train(SPLIT, DATA, TEST, TINY, tmp_path / "silent", **FP32)
    monkeypatch.setattr(status, "WRITE_EVERY", 0.0)
    monkeypatch.setattr("fmsel.fixmatch.run.loop.LOOK_STEPS", 1)
    train(SPLIT, DATA, TEST, TINY, tmp_path / "talks", **FP32)
    assert not (tmp_path / "silent" / STATUS).exists()
    assert rows_of(tmp_path / "silent") == rows_of(tmp_path / "talks")
    silent, talks = (checkpoint_of(tmp_path / name)[0] for name in ("silent", "talks"))
    assert_equal_state(silent, talks)


def test_the_status_loads_no_torch() -> None:
    code = "import sys, fmsel.fixmatch.status; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
