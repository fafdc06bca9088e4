"""`fmsel watch`: what it makes of the files of runs and loops, on terminals of any width."""

import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from test_cli_loop import BASE

from fmsel.cli.app import main
from fmsel.experiments.loop import folder as loop_folder
from fmsel.fixmatch.run import record
from fmsel.fixmatch.status import STATUS
from fmsel.report import watch, watch_place, watch_run
from fmsel.report.sparkline import ASCII, BLOCKS, sparkline
from fmsel.report.watch_place import WatchedPlace
from fmsel.report.watch_run import RunReader, RunView
from fmsel.report.watch_view import Glyphs, duration, full, sentence, short

CONFIG = {
    "mode": "fixmatch",
    "seed": 3,
    "precision": "fp32",
    "device": "cpu, 2 threads, a processor with a long name",
    "processes": 2,
    "fixmatch": {"arch": "small-conv-32", "steps": 100, "eval_every": 10},
    "dataset": {"dataset": "digits"},
    "split": {"name": "mixed", "labels": 40},
}
figures = st.none() | st.floats(0, 1, allow_nan=False)


def row(step: int, accuracy: float | None = 0.5) -> dict[str, Any]:
    return {
        "step": step,
        "ema_accuracy": accuracy,
        "loss": 1.0,
        "mask_rate": 0.5,
        "pseudo_label_accuracy": 0.9,
        "it_per_s": 2.0,
        "seconds": step / 2,
    }


def status(state: str = "running", step: int = 15, **more: Any) -> dict[str, Any]:
    values = {"state": state, "step": step, "steps": 100, "seconds": step / 2, "it_per_s": 2.0}
    return {**values, "loss": 1.5, "host": "elsewhere", "pid": 1, "warnings": [], **more}


def write(run: Path, **files: Any) -> Path:
    """Files of a run: config, rows, status, summary."""
    run.mkdir(parents=True, exist_ok=True)
    names = {"config": "config.json", "status": STATUS, "summary": "summary.json"}
    for name, value in files.items():
        if name == "rows":
            text = "".join(json.dumps(each) + "\n" for each in value)
            (run / "metrics.jsonl").write_text(text)
        else:
            (run / names[name]).write_text(json.dumps(value))
    return run


def read(run: Path) -> RunView:
    found = RunReader(run).read()
    assert found is not None
    return found


def grow_old(run: Path, seconds: float) -> None:
    for path in run.iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


def test_the_names_of_files_are_those_that_are_written() -> None:
    for name in ("CONFIG", "METRICS", "SUMMARY"):
        assert getattr(watch_run, name) == getattr(record, name)
    for name in ("LOOP", "ASKED", "RUN"):
        assert getattr(watch_place, name) == getattr(loop_folder, name)
    assert watch_place.ANSWERED == record.SPLIT


@given(st.lists(figures, max_size=200), st.integers(1, 80), st.sampled_from([BLOCKS, ASCII]))
def test_sparklines_keep_order_length_and_ends(
    values: list[float | None], width: int, ramp: str
) -> None:
    line = sparkline(values, width, ramp)
    assert len(line) == min(len(values), width)
    assert set(line) <= {*ramp, " "}
    if len(values) <= width:
        pairs = list(zip(values, line, strict=True))
        assert all((value is None) == (c == " ") for value, c in pairs)
        known = [(value, ramp.index(c)) for value, c in pairs if value is not None]
        bars = [bar for _, bar in sorted(known)]
        assert bars == sorted(bars)
        if known and max(known)[0] > min(known)[0]:
            assert (bars[0], bars[-1]) == (0, len(ramp) - 1)


def test_long_curves_are_means_of_equal_shares() -> None:
    assert sparkline([0, 0, 0, 7, 7, 7, 7, 7, 7], 3) == "▁▇▇"
    assert sparkline(range(7), 7) == BLOCKS
    assert sparkline([0, 2, 3, 3, 4, 6], 3) == "▁▄▇"
    assert sparkline([5, 5], 9) == "▄▄"


def test_durations_are_read_as_clocks() -> None:
    shown = [duration(s) for s in (0, 7.4, 750, 11100, 187800)]
    assert shown == ["0:00", "0:07", "12:30", "3:05:00", "2 d 04:10"]


def test_states_follow_the_files(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert RunReader(run).read() is None
    write(run, config=CONFIG)
    assert read(run).state == "running"  # of an fmsel that wrote no status, and just begun
    write(run, status=status())
    assert (read(run).state, read(run).step) == ("running", 15)
    write(run, status=status("evaluating"))
    assert read(run).state == "evaluating"
    grow_old(run, 100)
    assert read(run).state == "silent"  # on another host, nobody knows
    write(run, status=status("stopped", message="the run is saved"))
    assert read(run).state == "stopped"
    write(run, status=status("finished"))
    grow_old(run, 100)
    assert read(run).state == "silent"  # its summary is missing
    write(run, summary={"accuracy": 0.5, "accuracy_of": 1, "steps": 100, "seconds": 50.0})
    assert (read(run).state, read(run).step, read(run).seconds) == ("finished", 100, 50)


def test_a_killed_process_of_this_machine_is_told_from_a_silent_one(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = socket.gethostname()
    run = write(tmp_path, config=CONFIG, status=status(host=here, pid=ended.pid))
    assert read(run).state == "running"  # it may share the host's name and not its processes
    grow_old(run, 100)
    assert read(run).state == "gone"
    write(run, status=status(host=here, pid=os.getpid()))
    grow_old(run, 100)
    assert read(run).state == "silent"


def test_a_slow_run_may_be_silent_for_some_steps(tmp_path: Path) -> None:
    run = write(tmp_path, config=CONFIG, status=status(it_per_s=0.05))
    grow_old(run, 60)
    assert read(run).state == "running"
    grow_old(run, 100)
    assert read(run).state == "silent"


def test_clocks_that_differ_count_from_what_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    run = write(tmp_path, config=CONFIG, status=status())
    grow_old(run, -500)  # written in the future
    reader = RunReader(run)
    ages = []
    for moved in (0, 20):
        now[0] += moved
        view = reader.read()
        assert view is not None
        ages.append(view.age)
    assert ages == [0, 20]
    write(run, status=status(step=16))
    grow_old(run, 900)  # a clock that is late; but it was seen to change just now
    view = reader.read()
    assert view is not None and (view.age, view.state, view.step) == (0, "running", 16)


def test_curves_end_with_what_is_now_and_time_left_is_at_the_last_pace(tmp_path: Path) -> None:
    rows = [row(10), {**row(20), "seconds": 10.0}, {**row(30), "seconds": 20.0}]
    run = write(tmp_path, config=CONFIG, rows=rows, status=status(step=40, seconds=30.0))
    view = read(run)
    assert view.curve("loss") == [1.0, 1.0, 1.0, 1.5]
    assert view.curve("ema_accuracy") == [0.5, 0.5, 0.5]
    # 20 steps in 20 s since the evaluation before the last one; 60 are left
    assert view.seconds_left == pytest.approx(60, abs=1)
    grow_old(run, 100)
    assert read(run).seconds_left is None


def test_a_torn_line_is_left_out_and_a_replaced_run_begins_anew(tmp_path: Path) -> None:
    run = write(tmp_path, config=CONFIG, rows=[row(10), row(20)], status=status(step=25))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "ema_')
    reader = RunReader(run)
    view = reader.read()
    assert view is not None and [each["step"] for each in view.rows] == [10, 20]
    (run / STATUS).write_text('{"state": ')  # copied while it was written: as it was before
    view = reader.read()
    assert view is not None and view.step == 25
    (run / "metrics.jsonl").unlink()
    write(run, status=status(step=0))
    view = reader.read()
    assert view is not None and (view.step, view.rows) == (0, [])


def test_files_that_hold_something_else_are_as_none(tmp_path: Path) -> None:
    run = write(tmp_path / "run", config=CONFIG, rows=[row(10)], status=status(), summary=[])
    assert read(run).summary is None
    write(run, status=[1], rows=[{"x": 1}])
    assert (read(run).status, read(run).rows) == ({}, [])
    others: list[Any] = [[], {}, {"fixmatch": None}, {"fixmatch": {"lr": 1}}]
    for other in others:
        write(run, config=other)
        assert RunReader(run).read() is None
    for loop in ({}, {"strategies": 3}, {"strategies": {"a": None}}):
        (tmp_path / "loop.json").write_text(json.dumps(loop))
        assert WatchedPlace(tmp_path).look().heading == f"waiting for a run in {tmp_path}"


@given(
    rows=st.lists(figures, max_size=150),
    width=st.integers(20, 130),
    name=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1),
    state=st.sampled_from(["running", "evaluating", "stopped", "failed"]),
    text=st.text("ab ", max_size=300),
    ascii_only=st.booleans(),
)
def test_no_line_is_wider_than_the_terminal(
    rows: list[float | None], width: int, name: str, state: str, text: str, ascii_only: bool
) -> None:
    warning = {"time": 0.0, "step": 1, "text": text}
    view = RunView(
        path=Path(name),
        config=CONFIG,
        rows=[row(10 * (place + 1), value) for place, value in enumerate(rows)],
        status=status(state, message=text, warnings=[warning] * 5),
        summary=None,
        age=3.0,
    )
    ramps = (ASCII, "#", ".", ", ") if ascii_only else (BLOCKS, "━", "─", " · ")
    for describe in (full, short):
        lines = describe(view, name, width, Glyphs(*ramps))
        if width >= 45:
            assert max(cell_len(line.plain) for line in lines) <= width
        assert all("\n" not in line.plain for line in lines)
        plain = "".join(line.plain for line in lines)
        assert not ascii_only or plain.isascii() or not name.isascii()
    assert sentence(view, name).count("\n") == 0


def test_ascii_where_the_terminal_has_no_more(tmp_path: Path) -> None:
    class Old(Console):
        @property
        def encoding(self) -> str:
            return "ascii"

    assert Glyphs.of(Old()).ramp == ASCII
    assert Glyphs.of(Console(width=80, legacy_windows=False)).ramp in (ASCII, BLOCKS)


def test_a_folder_of_runs_shows_those_at_work(tmp_path: Path) -> None:
    for name, files in (
        ("done", {"summary": {"accuracy": 0.5}}),
        ("at-work", {"status": status()}),
        ("deep/also", {"status": status("evaluating")}),
        ("old", {"rows": [row(10)]}),
    ):
        write(tmp_path / name, config=CONFIG, **files)
    grow_old(tmp_path / "old", 1e6)
    scene = WatchedPlace(tmp_path).look()
    assert [name for name, _ in scene.runs] == ["at-work", "deep/also"]
    assert scene.heading == (
        f"{tmp_path} holds 4 runs: 1 running, 1 evaluating, 1 finished, 1 not heard of"
    )
    assert not scene.done
    missing = WatchedPlace(tmp_path / "later").look()
    assert missing.heading == f"waiting for a run in {tmp_path / 'later'}" and not missing.runs


def test_a_loop_shows_its_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["loop", *BASE, "--strategy", "margin", "--strategy", "random"]) == 0
    folder = Path("loops/digits")
    scene = WatchedPlace(folder).look()
    # both strategies share the first round of random
    assert (scene.heading, scene.done) == ("loops/digits: 3 of 3 rounds finished", True)
    assert len(scene.runs) == 1 and scene.runs[0][1].state == "finished"
    last = folder / "tracks" / "margin-seed0" / "round-1"
    (last / "run" / "summary.json").unlink()
    write(last / "run", status=status())
    scene = WatchedPlace(folder).look()
    assert (scene.heading, scene.done) == ("loops/digits: 2 of 3 rounds finished", False)
    assert [name for name, _ in scene.runs] == ["margin-seed0/round-1"]
    (last / "split.json").rename(last / "asked.json")
    heading = WatchedPlace(folder).look().heading
    assert heading.endswith("labels awaited in tracks/margin-seed0/round-1")


def test_once_prints_the_state_and_misses_a_run_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    warning = {"time": 0.0, "step": 1, "text": "the training may have collapsed"}
    write(Path("run"), config=CONFIG, rows=[row(10)], status=status(warnings=[warning]))
    assert main(["watch", "run", "--once"]) == 0
    shown = capsys.readouterr().out
    assert "15 / 100 steps, 15%" in shown and "40 labels of mixed" in shown
    assert "2 it/s · elapsed 0:0" in shown and "2 processes" in shown
    assert "note: the training may have collapsed" in shown
    assert main(["watch", "elsewhere", "--once"]) == 2
    assert "there is no run in elsewhere yet" in capsys.readouterr().err


def test_a_pipe_gets_a_line_for_each_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY", 0.0)
    run = tmp_path / "later"
    acts: Iterator[Callable[[], object]] = iter(
        [
            lambda: None,
            lambda: write(run, config=CONFIG, status=status(step=0)),
            lambda: write(run, status=status(step=5)),
            lambda: write(run, rows=[row(10)], status=status(step=10)),
            lambda: write(run, status=status(step=12, warnings=[{"time": 0, "text": "careful"}])),
            lambda: write(run, status=status("stopped", step=13)),
            lambda: write(run, rows=[row(10), row(20)], status=status(step=21)),
            lambda: write(run, summary={"accuracy": 0.75, "accuracy_of": 3}),
        ]
    )
    monkeypatch.setattr(time, "sleep", lambda _: next(acts)())
    assert main(["watch", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r", elapsed.*", "", line.partition(": ")[2]) for line in lines[1:]] == [
        "running; step 0 of 100, 2 it/s",
        "running; step 10 of 100, EMA accuracy 50.0%, loss 1, mask rate 50.0%, "
        "pseudo-labels right 90.0%, 2 it/s",
        lines[3].partition(": ")[2],
        "stopped 0:00 ago; step 13 of 100, EMA accuracy 50.0%, loss 1.5, mask rate 50.0%, "
        "pseudo-labels right 90.0%",
        "running; step 21 of 100, EMA accuracy 50.0%, loss 1.5, mask rate 50.0%, "
        "pseudo-labels right 90.0%, 2 it/s",
        "finished; step 100 of 100, EMA accuracy 50.0%, loss 1, mask rate 50.0%, "
        "pseudo-labels right 90.0%, 2 it/s",
    ]
    assert lines[0] == f"waiting for a run in {run}"
    assert lines[3].endswith("note: careful")
    assert lines[-1].endswith("accuracy 75.00% (median of the last 3)")


def test_ctrl_c_ends_the_watching_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    run = write(tmp_path, config=CONFIG, status=status())
    before = {path: path.read_bytes() for path in run.iterdir()}
    monkeypatch.setattr(time, "sleep", interrupt)
    assert main(["watch", str(run)]) == 0
    assert capsys.readouterr().err == ""
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def in_terminal(words: Sequence[str], columns: int, **environment: str) -> tuple[int, str]:
    """(exit code, all that was written) of `fmsel` in a terminal of 24 lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "fmsel.cli", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**clean, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    written = b""

    def drain() -> None:
        nonlocal written
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other end is closed
                return
            if not piece:
                return
            written += piece

    reader = threading.Thread(target=drain)
    reader.start()
    code = process.wait(timeout=60)
    reader.join(timeout=10)
    os.close(ours)
    return code, written.decode()


@pytest.mark.parametrize("colour", [True, False])
def test_a_real_terminal_of_60_columns(tmp_path: Path, colour: bool) -> None:
    rows = [row(10 * step, step / 10) for step in range(1, 11)]
    run = write(tmp_path / "run", config=CONFIG, rows=rows, summary={"accuracy": 0.95})
    code, written = in_terminal(["watch", str(run)], 60, **({} if colour else {"NO_COLOR": "1"}))
    assert code == 0
    assert ("\x1b[36m" in written) == colour  # cyan curves
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1  # the cursor comes back
    plain = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", written).split("\r\n")
    assert max(map(len, plain)) <= 60
    assert any(line.startswith("EMA accuracy") and BLOCKS[0] in line for line in plain)


def test_watching_loads_no_torch(tmp_path: Path) -> None:
    run = write(tmp_path, config=CONFIG, rows=[row(10)], summary={"accuracy": 0.5})
    code = (
        "import sys; from fmsel.cli.app import main; "
        f"code = main(['watch', {str(run)!r}, {str(run.parent)!r}, '--once']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
