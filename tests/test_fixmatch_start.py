"""Runs that start from another run's averaged weights."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from trained_run import (
    CONFIG,
    OPTIONS,
    assert_equal_weights,
    averaged,
    checkpoint_of,
    rows_of,
    stop_after,
)

from fmsel.artefacts import sha256_file
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError, Interrupted, OptionError
from fmsel.experiments.replicates import plan_replicates, train_replicates
from fmsel.fixmatch.presets import SMOKE
from fmsel.fixmatch.run import train
from fmsel.fixmatch.run.job import Options
from fmsel.fixmatch.run.session import Session
from fmsel.fixmatch.use import run_outputs
from fmsel.selection.margin import Margin
from fmsel.selection.random import Random
from fmsel.selection.split import Split, make_split

pytest_plugins = ["trained_run"]


def test_a_run_starts_from_the_averaged_weights_of_another(
    trained: Path, data: ImageDataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[dict[str, Any]] = []
    advance = Session.advance

    def look_and_advance(self: Session) -> None:
        if self.step == 0:
            copies = self.save()[0]["learner"]
            parts = {p: {k: v.clone() for k, v in copies[p].items()} for p in ("model", "ema")}
            starts.append({**parts, "optimizer": copies["optimizer"]})
        advance(self)

    monkeypatch.setattr(Session, "advance", look_and_advance)
    source = checkpoint_of(trained)["learner"]
    expected = averaged(source).state_dict()
    train(split, data, None, SMOKE, tmp_path / "warm", **OPTIONS, init_from=trained)
    [start] = starts
    assert start["model"].keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(start["model"][name], value), name
    for name, value in source["ema"].items():
        assert torch.equal(start["ema"][name], value), name
    assert start["optimizer"] == {}  # no momentum yet
    assert not torch.equal(expected["head.weight"], source["model"]["head.weight"])
    assert [row["step"] for row in rows_of(tmp_path / "warm")] == [5, 10, 15, 20]
    config = json.loads((tmp_path / "warm" / "config.json").read_text())
    expected_record = {"run": "first", "step": 20, "config_sha256": sha256_file(trained / CONFIG)}
    assert config["init"] == {**expected_record, "label_use": "stratified"}
    assert json.loads((trained / CONFIG).read_text())["init"] is None


def test_what_a_start_learned_from_counts_for_all_that_go_on_from_it(
    trained: Path, data: ImageDataset, tmp_path: Path
) -> None:
    """Or else labels that an oracle chose would reach a label-free choice through the weights."""
    own = make_split(data, Random(), batch_size=40)
    train(own, data, None, SMOKE, tmp_path / "second", **OPTIONS, init_from=trained)
    train(own, data, None, SMOKE, tmp_path / "third", **OPTIONS, init_from=tmp_path / "second")
    found = run_outputs(tmp_path / "third", data, device="cpu")
    assert (found.split.label_use, found.label_use) == ("none", "stratified")
    chosen = make_split(data, Margin(), batch_size=5, known=found.known)
    assert chosen.label_use == "stratified"


def test_a_run_that_started_from_another_resumes_as_such(
    run: Path, data: ImageDataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**OPTIONS, "init_from": run}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(split, data, None, SMOKE, whole, **options)
    with monkeypatch.context() as patch:
        stop_after(8, patch)
        with pytest.raises(Interrupted):
            train(split, data, None, SMOKE, cut, **options)
    with pytest.raises(ArtefactError, match="its run to start from was first, now it is None"):
        train(split, data, None, SMOKE, cut, **OPTIONS, resume=True)
    other = shutil.copytree(run, tmp_path / "other" / "second")
    with pytest.raises(ArtefactError, match="its run to start from was first, now it is second"):
        train(split, data, None, SMOKE, cut, **{**options, "init_from": other}, resume=True)
    sorted((run / "checkpoints").iterdir())[-1].unlink()  # it may have been gone on with, or gone
    early = shutil.copytree(cut, tmp_path / "early")
    shutil.rmtree(early / "checkpoints")
    with pytest.raises(ArtefactError, match="its step to start from was 20, now it is 15"):
        train(split, data, None, SMOKE, early, **options, resume=True)
    shutil.rmtree(run)
    train(split, data, None, SMOKE, cut, **options, resume=True)
    assert_equal_weights(checkpoint_of(whole)["learner"], checkpoint_of(cut)["learner"])


def test_replicates_too_go_on_without_the_run_they_started_from(
    run: Path, data: ImageDataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan_replicates(split, data, name="r", seed=0, count=2, root=tmp_path)
    jobs = [dataclasses.replace(job, init_from=run) for job in planned]
    options = Options(device="cpu", precision="fp32", progress=False)
    stop_after(8, monkeypatch)
    with pytest.raises(Interrupted):
        list(train_replicates(jobs, data, None, SMOKE, options))
    monkeypatch.undo()
    [_] = train_replicates(jobs[:1], data, None, SMOKE, options, resume=True)
    stop_after(8, monkeypatch)
    with pytest.raises(Interrupted):
        list(train_replicates(jobs, data, None, SMOKE, options))
    monkeypatch.undo()
    shutil.rmtree(run)
    said: list[str] = []
    again = train_replicates(jobs, data, None, SMOKE, options, resume=True, say=said.append)
    assert [job.seed for job, _ in again] == [1]
    assert said == [f"kept {jobs[0].out}, which is finished"]


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        ("arch", "its arch is small-conv-8, this run's is small-conv-4; start from a run of"),
        ("classes", "its class 9 is nine, this run's is 9"),
        ("fewer", "its class 9 is None, this run's is 9"),
        ("side", "its image side is 16, this run's is 8"),
        ("checkpoint", "has no checkpoint yet"),
        ("folder", "is not a run folder: it holds no config.json"),
        ("foreign", "the checkpoint of .* does not belong to its config.json"),
    ],
)
def test_a_run_that_does_not_fit_is_no_start(
    difference: str, sentence: str, run: Path, data: ImageDataset, split: Split, tmp_path: Path
) -> None:
    config, values = SMOKE, json.loads((run / CONFIG).read_text())
    if difference == "arch":
        config = dataclasses.replace(SMOKE, arch="small-conv-4")
    elif difference == "classes":
        values["dataset"]["class_names"][9] = "nine"
    elif difference == "fewer":
        del values["dataset"]["class_names"][9]
    elif difference == "side":
        values["dataset"]["image_side"] = 16
    elif difference == "checkpoint":
        shutil.rmtree(run / "checkpoints")
    elif difference == "foreign":
        config = dataclasses.replace(SMOKE, arch="small-conv-4")
        values["fixmatch"]["arch"] = "small-conv-4"
    (run / CONFIG).write_text(json.dumps(values))
    if difference == "folder":
        (run / CONFIG).unlink()
    with pytest.raises(ArtefactError, match=sentence):
        train(split, data, None, config, tmp_path / "new", **OPTIONS, init_from=run)
    assert not (tmp_path / "new").exists()


def test_a_run_cannot_start_from_itself(run: Path, data: ImageDataset, split: Split) -> None:
    before = sha256_file(run / CONFIG)
    with pytest.raises(OptionError, match="cannot start from itself"):
        train(split, data, None, SMOKE, run, **OPTIONS, init_from=run, force=True)
    assert sha256_file(run / CONFIG) == before
