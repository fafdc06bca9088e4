"""Several runs on one device at a time: each computes what it would alone."""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmsel.artefacts import read_json
from fmsel.cli.app import main
from fmsel.datasets import ImageDataset
from fmsel.errors import FmselError, Interrupted
from fmsel.experiments.replicates import plan_replicates, train_replicates
from fmsel.fixmatch.presets import SMOKE
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.job import Job, Options
from fmsel.fixmatch.run.loop import train_jobs
from fmsel.fixmatch.run.session import Session
from fmsel.selection.split import Split

pytest_plugins = ["trained_run"]
TINY = dataclasses.replace(SMOKE, steps=6, eval_every=3)
OPTIONS = Options(device="cpu", precision="fp32", progress=False)


def jobs(split: Split, root: Path, count: int = 3) -> list[Job]:
    return [Job(split=split, out=root / f"r{seed}", seed=seed) for seed in range(count)]


def outcome(folder: Path) -> tuple[Any, list[np.ndarray]]:
    saved = RunFolder(folder).restore("cpu")  # type: ignore[arg-type]
    assert saved is not None
    tensors, state = saved
    return state["rows"][-1]["ema_accuracy"], [
        value.numpy() for value in tensors["learner"]["model"].values()
    ]


def test_runs_that_take_turns_end_as_they_would_alone(
    data: ImageDataset, split: Split, tmp_path: Path
) -> None:
    for together in (1, 2, 3):
        done = train_jobs(
            jobs(split, tmp_path / str(together)), data, None, TINY, OPTIONS, together
        )
        assert {job.seed for job, summary in done if summary["steps"] == 6} == {0, 1, 2}
    for seed in range(3):
        _, alone = outcome(tmp_path / "1" / f"r{seed}")
        for together in (2, 3):
            _, shared = outcome(tmp_path / str(together) / f"r{seed}")
            for first, second in zip(alone, shared, strict=True):
                np.testing.assert_array_equal(first, second)


def test_a_signal_saves_and_stops_all_and_all_go_on(
    data: ImageDataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Session.advance

    def advance_and_signal(self: Session) -> None:
        advance(self)
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    planned = jobs(split, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Session, "advance", advance_and_signal)
        with pytest.raises(Interrupted, match="2 runs are saved"):
            list(train_jobs(planned, data, None, TINY, OPTIONS, together=2))
    steps = [
        sorted((job.out / "checkpoints").glob("step-*")) for job in planned if job.out.exists()
    ]
    assert [len(each) for each in steps] == [1, 1]  # the third had not begun
    again = list(train_replicates(planned, data, None, TINY, OPTIONS, resume=True, together=2))
    assert len(again) == 3
    whole = list(train_jobs(jobs(split, tmp_path / "whole"), data, None, TINY, OPTIONS))
    for (job, _), (plain, _) in zip(
        sorted(again, key=lambda each: each[0].seed), whole, strict=True
    ):
        for first, second in zip(outcome(job.out)[1], outcome(plain.out)[1], strict=True):
            np.testing.assert_array_equal(first, second)


def test_one_that_fails_lets_the_others_finish(
    data: ImageDataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Session.check_finite

    def fail(self: Session) -> None:
        if self.unlabelled is not None and self.unlabelled.seed == 0:
            raise FmselError("made to fail")
        check(self)

    monkeypatch.setattr(Session, "check_finite", fail)
    done = []
    with pytest.raises(FmselError, match=r"^in .*r0: made to fail"):
        for job, _ in train_jobs(jobs(split, tmp_path), data, None, TINY, OPTIONS, together=2):
            done.append(job.seed)
    assert done == [1] and not (tmp_path / "r2").exists()


def test_replicates_of_several_splits_have_folders_of_their_own(
    data: ImageDataset, split: Split, tmp_path: Path
) -> None:
    planned = plan_replicates(split, data, name="a", seed=0, count=2, root=tmp_path)
    with pytest.raises(FmselError, match="two runs would be written to"):
        list(train_replicates([*planned, planned[0]], data, None, TINY, OPTIONS))
    with pytest.raises(FmselError, match="together=0 must be at least 1"):
        list(train_replicates(planned, data, None, TINY, OPTIONS, together=0))


def test_several_splits_through_the_command_line(
    split: Split,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    split.save(Path("a.json"))
    split.save(Path("b.json"))
    words = ["train", "--split", "a.json", "--split", "b.json", "--seeds", "2", "--together", "3"]
    words += ["--preset", "smoke", "--steps", "2", "--device", "cpu", "--out", "here"]
    assert main(words) == 0
    names = sorted(path.name for path in Path("here").iterdir())
    assert names == ["a-seed0", "a-seed1", "b-seed0", "b-seed1"]
    assert read_json(Path("here/b-seed1/config.json"), "run")["split"]["name"] == "b"
    assert capsys.readouterr().out.count("accuracy") == 4
    assert main(words) == 0
    assert capsys.readouterr().out.count("kept here/") == 4
