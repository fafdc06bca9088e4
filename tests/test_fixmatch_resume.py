"""Runs that are killed, broken or asked to stop go on bit for bit; others are refused."""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.fixmatch.run import evaluate, loop
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.session import Session
from fmsel.report.watch_run import RunReader
from fmsel.selection.split import Split
from fmsel.training.augment.weak import to_float
from fmsel.training.engine.checkpoint import save_checkpoint

STEPS = 40
PLAIN = [
    *("train", "--split", "splits/four.json", "--preset", "smoke", "--device", "cpu"),
    *("--precision", "fp32", "--steps", str(STEPS), "--eval-every", "10"),
]
WORDS = [*PLAIN, "--rule", "freematch", "--augment", "ctaugment"]  # both have a state
CLOCKS = ("seconds", "it_per_s", "images_per_s")
# One process imports torch, the others fork from it: quick, and as dead as any when killed.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["fmsel.cli.app", "fmsel.experiments.replicates", "sklearn.datasets", "torch._dynamo"]
)


def split_of_digits(per_class: int, **changes: Any) -> Split:
    data = load_dataset("digits")
    classes = [np.flatnonzero(data.labels == c)[:per_class] for c in range(10)]
    values: dict[str, Any] = {
        "dataset": data.name,
        "source": data.source.as_dict(),
        "n": len(data),
        "images_sha256": data.images_sha256,
        "labels_sha256": data.labels_sha256,
        "strategy": "imported",
        "parameters": {},
        "seed": 0,
        "indices": np.concatenate(classes).tolist(),
        "label_use": "none",
        "class_counts": {},
    }
    return Split(**{**values, **changes})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with splits/four.json and splits/five.json: so many digits a class."""
    monkeypatch.chdir(tmp_path)
    split_of_digits(4).save(tmp_path / "splits" / "four.json")
    split_of_digits(5).save(tmp_path / "splits" / "five.json")
    return tmp_path


def checkpoints(out: str) -> list[Path]:
    return sorted(Path(out, "checkpoints").glob("*.safetensors"))


def hashes_of(path: Path) -> dict[str, str]:
    tensors = load_file(path)
    return {name: hashlib.sha256(t.numpy().tobytes()).hexdigest() for name, t in tensors.items()}


def outcome(out: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """(sha256 of every tensor of the last checkpoint, rows of metrics.jsonl but for clocks)."""
    rows = [json.loads(line) for line in Path(out, "metrics.jsonl").read_text().splitlines()]
    hashes = hashes_of(checkpoints(out)[-1])
    return hashes, [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], list[Any]]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("whole")
        patch.chdir(home)
        split_of_digits(4).save(home / "splits" / "four.json")
        assert main([*WORDS, "--out", "whole"]) == 0
        assert [path.name for path in checkpoints("whole")] == [
            "step-00000030.safetensors",
            "step-00000040.safetensors",
        ]
        return outcome("whole")


# Runs the command, with a checkpoint after each step, and sends itself a signal when it touches a
# file of the run for the n-th time: opens, renames or removes one.
COMMAND = """
import os, sys, torch
from fmsel.cli.app import main
from fmsel.fixmatch.run import loop

touched = 0
def hook(event, arguments):
    global touched
    if event in ("open", "os.rename", "os.remove", "os.mkdir") and "cut" in str(arguments[0]):
        touched += 1
        if touched == {touches}:
            os.kill(os.getpid(), {number})

os.chdir({home!r})
sys.stderr = open("errors.txt", "w")
torch.set_num_threads(1)
loop.CHECKPOINT_SECONDS = 0.0
sys.addaudithook(hook)
code = main({words!r})
sys.stderr.flush()
sys.exit(code)
"""


def run_until(number: signal.Signals, touches: int, home: Path, words: list[str]) -> int | None:
    """The exit code of a process that gets signal `number` at that touch of a file."""
    code = COMMAND.format(number=int(number), touches=touches, home=str(home), words=words)
    process = PROCESSES.Process(target=exec, args=(code, {}))
    process.start()
    process.join(60)
    return process.exitcode


def last_step(out: str) -> int:
    return max((int(path.stem[5:]) for path in checkpoints(out)), default=0)


def test_killed_at_random_and_resumed_is_bit_identical(
    home: Path, uninterrupted: tuple[dict[str, str], list[Any]]
) -> None:
    """SIGKILL wherever the files change, four times, then SIGUSR1, then to the end."""
    moments = [random.randrange(1, limit) for limit in (10, 80, 80, 80)]
    words = [*WORDS, "--out", "cut"]
    for touches in moments:
        assert run_until(signal.SIGKILL, touches, home, words) == -signal.SIGKILL, moments
        begun = Path("cut", "config.json").exists()
        words = [*WORDS, "--out", "cut", "--resume" if begun else "--force"]
    assert run_until(signal.SIGUSR1, 80, home, words) == 130
    assert 0 < last_step("cut") < STEPS
    errors = (home / "errors.txt").read_text()
    assert f"stopped: the run is saved at step {last_step('cut')} of {STEPS}" in errors
    assert main([*WORDS, "--out", "cut", "--resume"]) == 0
    assert outcome("cut") == uninterrupted, moments
    names = sorted(path.name for path in Path("cut", "checkpoints").iterdir())
    assert names == ["step-00000030.safetensors", "step-00000040.safetensors"]


def unfinished(out: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stop a run during step 37; the words that go on with it."""
    advance = Session.advance

    def advance_and_signal(self: Session) -> None:
        if self.step == 36:
            os.kill(os.getpid(), signal.SIGUSR1)
        advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "advance", advance_and_signal)
        assert main([*WORDS, "--out", out]) == 130
    assert [path.name for path in checkpoints(out)] == [
        "step-00000030.safetensors",
        "step-00000037.safetensors",
    ]
    return [*WORDS, "--out", out, "--resume"]


# Two signals before a step: the second one comes before the run could be saved.
TWICE = """
import os, signal, sys, torch
from fmsel.cli.app import main
from fmsel.fixmatch.run.session import Session

advance = Session.advance
def signal_twice(self):
    if self.step == 16:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    advance(self)

os.chdir({home!r})
sys.stderr = open("errors.txt", "w")
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs tests with &
Session.advance = signal_twice
code = main({words!r})
sys.stderr.flush()
sys.exit(code)
"""


def test_a_second_ctrl_c_leaves_the_last_checkpoint_and_says_so(
    home: Path, uninterrupted: tuple[dict[str, str], list[Any]]
) -> None:
    words = [*WORDS, "--out", "cut"]
    code = TWICE.format(home=str(home), words=words)
    process = PROCESSES.Process(target=exec, args=(code, {}))
    process.start()
    process.join(60)
    assert process.exitcode == 130
    *_, last = (home / "errors.txt").read_text().splitlines()
    assert last == (
        "stopped: nothing was saved after the last checkpoint; give the same command with "
        "--resume to go on from there"
    )
    assert last_step("cut") == 10
    view = RunReader(Path("cut")).read()
    assert view is not None and view.state == "stopped"
    assert view.status["message"] == "stopped before it was saved; the last checkpoint stays"
    assert main([*words, "--resume"]) == 0
    assert outcome("cut") == uninterrupted


def test_ctrl_c_before_a_run_has_begun_needs_no_resume(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fmsel.experiments.replicates.train_jobs", interrupt)
    assert main([*WORDS, "--out", "run"]) == 130
    assert "give the same command to go on" in capsys.readouterr().err


def test_a_mistake_of_ours_ends_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Session) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Session, "advance", broken)
    with pytest.raises(RuntimeError):
        main([*WORDS, "--out", "run"])
    view = RunReader(Path("run")).read()
    assert view is not None and view.state == "failed"
    assert view.status["message"] == "RuntimeError: a mistake"


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_broken_checkpoint_is_reported_and_the_one_before_used(
    damage: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    uninterrupted: tuple[dict[str, str], list[Any]],
) -> None:
    words = unfinished("run", monkeypatch)
    older, newest = checkpoints("run")
    content = bytearray(newest.read_bytes())
    content[-100] ^= 1
    newest.write_bytes(content if damage == "flipped" else content[:-100])
    metrics = Path("run", "metrics.jsonl")
    metrics.write_text(metrics.read_text() + '{"step": 37}\n')  # as if it had been evaluated
    Path("run", "checkpoints", ".step-00000040.safetensors.1.tmp").write_text("half")
    seen, advance = list[int](), Session.advance

    def look_and_advance(self: Session) -> None:
        seen.append(len(metrics.read_text().splitlines()))
        advance(self)

    monkeypatch.setattr(Session, "advance", look_and_advance)
    capsys.readouterr()
    assert main(words) == 0
    assert seen[0] == 3  # the evaluations up to the checkpoint that was used
    errors = capsys.readouterr().err
    assert f"left out {newest}, which is broken; using {older}" in errors
    assert outcome("run") == uninterrupted
    assert len(list(Path("run", "checkpoints").iterdir())) == 2


def test_without_a_good_checkpoint_resuming_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = unfinished("run", monkeypatch)
    for path in checkpoints("run"):
        path.write_bytes(b"")
    assert main(words) == 2
    assert "no checkpoint of run is whole; train again with --force" in capsys.readouterr().err
    for path in checkpoints("run"):
        path.unlink()
    Path("run", "checkpoint.pt").touch()
    assert main(words) == 2
    assert "checkpoint.pt is of an older fmsel" in capsys.readouterr().err


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    uninterrupted: tuple[dict[str, str], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished("run", monkeypatch)
    for path in [*checkpoints("run"), Path("run", "split.json"), Path("run", "metrics.jsonl")]:
        path.unlink()
    assert main([*WORDS, "--out", "run", "--resume"]) == 0
    assert outcome("run") == uninterrupted
    assert Split.load(Path("run", "split.json")).sha256 == split_of_digits(4).sha256


def test_a_run_killed_before_its_configuration_can_be_replaced() -> None:
    Path("run").mkdir()
    Path("run", ".config.json.1.tmp").write_text("{")
    assert main([*WORDS, "--steps", "2", "--out", "run"]) == 2
    assert main([*WORDS, "--steps", "2", "--out", "run", "--force"]) == 0


def test_a_signal_during_evaluation_saves_and_stops(
    monkeypatch: pytest.MonkeyPatch, uninterrupted: tuple[dict[str, str], list[Any]]
) -> None:
    """The evaluation it cuts short is made again by the resumed run."""
    monkeypatch.setattr(evaluate, "BATCH", 100)  # so that there is a second batch
    calls: list[int] = []

    def signal_in_second_evaluation(pixels: torch.Tensor) -> torch.Tensor:
        calls.append(len(pixels))
        if sum(calls) == 100 + len(load_dataset("digits", "test")):
            os.kill(os.getpid(), signal.SIGUSR1)
        return to_float(pixels)

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "to_float", signal_in_second_evaluation)
        assert main([*WORDS, "--out", "run"]) == 130
    assert last_step("run") == 20
    assert len(Path("run", "metrics.jsonl").read_text().splitlines()) == 1
    assert main([*WORDS, "--out", "run", "--resume"]) == 0
    assert main([*WORDS, "--out", "whole"]) == 0  # the loss's last bits depend on the batches
    assert outcome("run") == outcome("whole")
    assert outcome("run")[0] == uninterrupted[0]


def test_checkpoints_come_by_the_clock_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between evaluations, and each with the metrics of its step."""
    saved: list[tuple[int, int]] = []
    save = RunFolder.save

    def record(self: RunFolder, tensors: Any, state: Any, rows: Any) -> None:
        save(self, tensors, state, rows)
        saved.append((state["step"], len(Path("run", "metrics.jsonl").read_text().splitlines())))

    monkeypatch.setattr(RunFolder, "save", record)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    assert main([*WORDS, "--steps", "4", "--eval-every", "3", "--out", "run"]) == 0
    assert saved == [(1, 0), (2, 0), (3, 0), (3, 1), (4, 1), (4, 2)]


def test_resuming_something_else_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--steps", "2", "--out", "run"]
    assert main(words) == 0
    four, five = (Split.load(Path("splits", f"{name}.json")).sha256 for name in ("four", "five"))
    relabelled = split_of_digits(4, labels=[k % 10 for k in range(40)])
    relabelled.save(Path("splits", "relabelled.json"))
    cases = [
        (["--lr", "0.01"], "setting lr was 0.03, now it is 0.01"),
        (["--steps", "3"], "setting steps was 2, now it is 3"),
        (["--split", "splits/five.json"], f"split (sha256) was {four}, now it is {five}"),
        (
            ["--split", "splits/relabelled.json"],
            f"split (sha256) was {four}, now it is {relabelled.sha256}",
        ),
        (["--supervised-only"], "mode was fixmatch, now it is supervised"),
        (["--seed", "1"], "seed was 0, now it is 1"),
        (["--precision", "bf16"], "precision was fp32, now it is bf16"),
    ]
    before = outcome("run")
    for changes, sentence in cases:
        same = words if "--split" not in changes else words[:1] + words[3:]
        assert main([*same, *changes, "--resume"]) == 2, changes
        assert f"cannot resume run: its {sentence}" in capsys.readouterr().err
    assert outcome("run") == before


@pytest.mark.parametrize(
    ("found", "recipe"),
    [
        ("look", ["--optimizer", "adam"]),
        ("evaluation", ["--rule", "flexmatch"]),
        ("checkpoint", ["--supervised-only"]),
        ("signal", []),
    ],
)
def test_a_bad_loss_freezes_all_and_is_named(
    found: str,
    recipe: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever looks first, it is the step that is named, and nothing has changed since."""
    sessions: list[Session] = []
    advance, save = Session.advance, Session.save
    good: list[dict[str, str]] = []

    def hashes(session: Session) -> dict[str, str]:
        save_checkpoint(Path("c"), save(session)[0], {})
        return hashes_of(Path("c"))

    def spoil(self: Session) -> None:
        sessions.append(self)
        if self.step == 13:  # the 14th step
            good.append(hashes(self))
            batch = self.labelled.make(self.labelled.draw(13))
            bad = dataclasses.replace(batch, images=batch.images * float("nan"))
            self.labelled.make = lambda draws: bad  # type: ignore[method-assign]
        advance(self)
        if found == "signal" and self.step == 16:
            os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(Session, "advance", spoil)
    monkeypatch.setattr(loop, "LOOK_EVERY", 1e9)
    monkeypatch.setattr(loop, "LOOK_STEPS", 4 if found == "look" else 1000)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0 if found == "checkpoint" else 1e9)
    words = PLAIN if "--supervised-only" in recipe else WORDS
    assert main([*words, *recipe, "--out", "run"]) == 2
    assert "became nan or infinite at step 14 of 40" in capsys.readouterr().err
    steps = {"look": 16, "evaluation": 20, "checkpoint": 14, "signal": 16}
    assert sessions[-1].step == steps[found]
    assert hashes(sessions[-1]) == good[0]
    assert last_step("run") == (13 if found == "checkpoint" else 10)
    assert outcome("run")[1][-1]["step"] == 10
