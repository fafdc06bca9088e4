"""A run's outputs as arrays, its history of classes, and runs that start from another's weights."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from fmsel.artefacts import sha256_file
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.errors import ArtefactError, Interrupted, OptionError
from fmsel.fixmatch.presets import SMOKE
from fmsel.fixmatch.run import evaluate, train
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.history import no_history, with_row
from fmsel.fixmatch.run.session import Session
from fmsel.fixmatch.use import load_trained, outputs, run_outputs
from fmsel.fixmatch.use.embed import run_embeddings
from fmsel.selection.margin import Margin
from fmsel.selection.random import Random
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import Split, make_split
from fmsel.training.augment.weak import to_float
from fmsel.training.networks.build import build_network

OPTIONS: dict[str, Any] = {"seed": 3, "device": "cpu", "precision": "fp32", "progress": False}
CONFIG = "config.json"
CLOCKS = ("seconds", "it_per_s", "images_per_s")


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def split(data: ImageDataset) -> Split:
    return make_split(data, RandomStratified(), batch_size=40)


@pytest.fixture(scope="module")
def held_out(data: ImageDataset) -> ImageDataset:
    return load_dataset("digits", "test")


@pytest.fixture(scope="module")
def trained(
    data: ImageDataset,
    split: Split,
    held_out: ImageDataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Evaluated at steps 5, 10, 15 and 20, with a history."""
    out = tmp_path_factory.mktemp("study") / "first"
    train(split, data, held_out, SMOKE, out, **OPTIONS, keep_history=True)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run without kept outputs, to be harmed."""
    return shutil.copytree(
        trained, tmp_path / "first", ignore=shutil.ignore_patterns("outputs.npz")
    )


def checkpoint_of(run: Path) -> dict[str, Any]:
    saved = RunFolder(run).restore(torch.device("cpu"))
    assert saved is not None
    return saved[0]


def averaged(learner: Mapping[str, Any]) -> nn.Module:
    """The averaged network of a checkpoint, each parameter put in its place by hand."""
    network: nn.Module = build_network(
        "small-conv-8", n_classes=10, image_side=8, bn_momentum=0.05, seed=9
    )
    network.load_state_dict(learner["model"])
    for name, parameter in network.named_parameters():
        parameter.data.copy_(learner["ema"][name])
    return network.eval()


def plain_logits(network: nn.Module, data: ImageDataset) -> npt.NDArray[np.float32]:
    """(N, C), in one batch."""
    pixels = torch.tensor(data.images.transpose(0, 3, 1, 2) / 127.5 - 1, dtype=torch.float32)
    with torch.no_grad():
        logits: npt.NDArray[np.float32] = network(pixels).numpy()
    return logits


def rows_of(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows]


def assert_equal_weights(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """Bit for bit: weights, average and momentum."""
    for part in ("model", "ema"):
        assert first[part].keys() == second[part].keys()
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), name
    for key, state in first["optimizer"].items():
        buffers = state["momentum_buffer"], second["optimizer"][key]["momentum_buffer"]
        assert torch.equal(*buffers)


# Outputs.


def test_probabilities_are_those_of_a_plain_forward(trained: Path, data: ImageDataset) -> None:
    found = run_outputs(trained, data, device="cpu")
    logits = plain_logits(averaged(checkpoint_of(trained)["learner"]), data)
    powers = np.exp(logits.astype(np.float64))
    expected = powers / powers.sum(axis=1, keepdims=True)
    assert found.probabilities.dtype == np.float32
    assert np.abs(found.probabilities - expected).max() < 2e-6
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-6)
    assert len(set(found.probabilities.argmax(axis=1).tolist())) > 3  # it has learned something


def test_the_head_makes_logits_of_the_features(trained: Path, data: ImageDataset) -> None:
    found = run_outputs(trained, data, device="cpu")
    ema = checkpoint_of(trained)["learner"]["ema"]
    weight, bias = (ema[f"head.{name}"].double().numpy() for name in ("weight", "bias"))
    assert found.features.dtype == np.float32
    assert found.features.shape == (len(data), 32) == (len(data), weight.shape[1])
    logits = plain_logits(averaged(checkpoint_of(trained)["learner"]), data)
    np.testing.assert_allclose(found.features @ weight.T + bias, logits, atol=2e-5)


def test_outputs_say_whose_they_are(trained: Path, data: ImageDataset, split: Split) -> None:
    found = run_outputs(trained, data, device="cpu")
    assert (found.step, found.config_sha256) == (20, sha256_file(trained / CONFIG))
    assert found.split.indices == split.indices and found.split.label_use == "stratified"
    assert found.provenance == {
        "run": "first",
        "step": 20,
        "config_sha256": found.config_sha256,
        "split_sha256": split.sha256,
        "labels": 40,
        "label_use": "stratified",
    }
    assert found.known.provenance == {"run": {**found.provenance, "sha256": found.sha256}}
    pool = found.known.pool(data, {})
    assert pool.held.tolist() == sorted(split.indices) and pool.labels is not None
    assert pool.labels[split.index_array].tolist() == data.labels[split.index_array].tolist()
    assert pool.probabilities is found.probabilities and pool.history is found.history
    other = dataclasses.replace(found, features=found.features + 1)
    assert run_outputs(trained, data, device="cpu").sha256 == found.sha256 != other.sha256


def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one whenever outputs are computed and not read."""
    made: list[str] = []
    compute = outputs._compute

    def counted(*values: Any) -> outputs.Arrays:
        made.append("pass")
        return compute(*values)

    monkeypatch.setattr(outputs, "_compute", counted)
    return made


def test_kept_outputs_are_used_again(
    run: Path, data: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = passes(monkeypatch)
    first = run_outputs(run, data, device="cpu")
    again = run_outputs(run, data, device="cpu")
    assert made == ["pass"]
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    np.testing.assert_array_equal(first.features, again.features)
    with np.load(run / "outputs.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["features", "header", "probabilities"]
    assert not list(run.glob(".*.tmp"))


@pytest.mark.parametrize("change", ["checkpoint", "config", "precision", "cut", "empty", "weights"])
def test_outputs_of_anything_else_are_made_again(
    change: str, run: Path, data: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_outputs(run, data, device="cpu")
    made, kept, precision = passes(monkeypatch), run / "outputs.npz", "fp32"
    checkpoints = sorted((run / "checkpoints").iterdir())
    if change == "checkpoint":
        checkpoints[-1].unlink()
    elif change == "config":
        text = (run / CONFIG).read_text()
        (run / CONFIG).write_text(text + "\n")
    elif change == "precision":
        precision = "bf16"
    elif change == "cut":
        kept.write_bytes(kept.read_bytes()[:-1000])
    elif change == "empty":
        kept.write_bytes(b"")
    else:  # another run's weights at the same step
        shutil.copy(checkpoints[0], checkpoints[-1])
        monkeypatch.setattr(RunFolder, "restore", at_step_20(RunFolder.restore))
    after = run_outputs(run, data, device="cpu", precision=precision)
    assert made == ["pass"]
    same = np.array_equal(before.probabilities, after.probabilities)
    assert same == (change in ("config", "cut", "empty"))
    assert after.features.dtype == after.probabilities.dtype == np.float32
    assert run_outputs(run, data, device="cpu", precision=precision).step == after.step
    assert made == ["pass"]


def at_step_20(restore: Any) -> Any:
    def changed(self: RunFolder, device: torch.device) -> Any:
        tensors, state = restore(self, device)
        return tensors, {**state, "step": 20}

    return changed


def test_other_images_are_refused(run: Path, data: ImageDataset, held_out: ImageDataset) -> None:
    sentence = "was trained on 1438 images of digits, not on these 359 images of digits"
    with pytest.raises(ArtefactError, match=sentence):
        run_outputs(run, held_out, device="cpu")
    assert not (run / "outputs.npz").exists()
    (run / "split.json").unlink()
    with pytest.raises(ArtefactError, match=r"split\.json cannot be read as a split"):
        run_outputs(run, data, device="cpu")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ArtefactError):
        run_outputs(run, data, device="cpu")


def test_a_run_that_is_made_again_loses_its_outputs(
    run: Path, data: ImageDataset, split: Split
) -> None:
    run_outputs(run, data, device="cpu")
    short = dataclasses.replace(SMOKE, steps=2)
    train(split, data, None, short, run, **OPTIONS, force=True)
    assert not (run / "outputs.npz").exists()
    assert run_outputs(run, data, device="cpu").history is None


def test_embeddings_of_a_run_say_that_they_know_labels(trained: Path, data: ImageDataset) -> None:
    found = run_embeddings(trained, data, device="cpu")
    np.testing.assert_array_equal(found.features, run_outputs(trained, data).features)
    assert (found.encoder, found.uses_labels) == ("run:first", True)
    assert found.parameters["labels"] == 40 and found.parameters["step"] == 20
    assert found.parameters["config_sha256"] == sha256_file(trained / CONFIG)


# History.


class Killed(BaseException):
    """Nothing is saved once this is raised."""


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch, how: str = "signal") -> None:
    """Send this process a signal during step number `steps`, or end the run there unsaved."""
    advance = Session.advance

    def advance_and_signal(self: Session) -> None:
        advance(self)
        if self.step == steps and how == "killed":
            raise Killed
        if self.step == steps:
            os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(Session, "advance", advance_and_signal)


def test_history_is_what_the_network_predicted_at_each_evaluation(
    trained: Path, data: ImageDataset, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run without history, stopped at each evaluation, gives its own forward passes."""
    history = run_outputs(trained, data, device="cpu").history
    assert history is not None and history.dtype == np.int64 and history.shape == (4, len(data))
    for row, step in enumerate((5, 10, 15, 20)):
        out = tmp_path / "plain"
        with monkeypatch.context() as patch:
            stop_after(step, patch)
            with pytest.raises(Interrupted):
                train(split, data, None, SMOKE, out, **OPTIONS, resume=row > 0)
        logits = plain_logits(averaged(checkpoint_of(out)["learner"]), data)
        top = np.sort(logits, axis=1)
        clear = top[:, -1] - top[:, -2] > 1e-4  # no matter of rounding
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(logits.argmax(axis=1)[clear], history[row][clear])
    assert (history[0] != history[3]).any()


def test_a_history_changes_no_weight(
    trained: Path, data: ImageDataset, split: Split, held_out: ImageDataset, tmp_path: Path
) -> None:
    train(split, data, held_out, SMOKE, tmp_path / "plain", **OPTIONS)
    first, second = checkpoint_of(trained), checkpoint_of(tmp_path / "plain")
    assert first["history"].dtype == torch.uint8 and "history" not in second
    assert_equal_weights(first["learner"], second["learner"])
    assert rows_of(trained) == rows_of(tmp_path / "plain")
    assert load_trained(tmp_path / "plain").history is None


@pytest.mark.parametrize("how", ["signal", "killed"])
@pytest.mark.parametrize("stop_at", [3, 10, 13])
def test_a_resumed_run_has_the_history_of_an_uninterrupted_one(
    stop_at: int,
    how: str,
    trained: Path,
    data: ImageDataset,
    split: Split,
    held_out: ImageDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {**OPTIONS, "keep_history": True}
    with monkeypatch.context() as patch:
        stop_after(stop_at, patch, how)
        with pytest.raises(Interrupted if how == "signal" else Killed):
            train(split, data, held_out, SMOKE, tmp_path / "cut", **options)
    saved = RunFolder(tmp_path / "cut").restore(torch.device("cpu"))
    evaluated = (stop_at - 1) // 5  # whoever is stopped at step 10 does not evaluate it any more
    if how == "killed" and not evaluated:
        assert saved is None
    else:
        assert saved is not None and len(saved[0]["history"]) == evaluated
    train(split, data, held_out, SMOKE, tmp_path / "cut", **options, resume=True)
    first, second = checkpoint_of(trained), checkpoint_of(tmp_path / "cut")
    assert torch.equal(first["history"], second["history"])
    assert_equal_weights(first["learner"], second["learner"])


def test_a_signal_while_images_are_predicted_loses_no_row(
    trained: Path,
    data: ImageDataset,
    split: Split,
    held_out: ImageDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The evaluation it cuts short is made again, whole, by the resumed run."""
    seen: list[int] = []

    def signal_in_second_evaluation(pixels: Tensor) -> Tensor:
        seen.append(len(pixels))
        if sum(seen) == 2 * len(held_out) + len(data) + evaluate.BATCH:
            os.kill(os.getpid(), signal.SIGUSR1)
        return to_float(pixels)

    options = {**OPTIONS, "keep_history": True}
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "to_float", signal_in_second_evaluation)
        with pytest.raises(Interrupted, match="saved at step 10"):
            train(split, data, held_out, SMOKE, tmp_path / "cut", **options)
    assert [row["step"] for row in rows_of(tmp_path / "cut")] == [5]
    assert len(checkpoint_of(tmp_path / "cut")["history"]) == 1
    train(split, data, held_out, SMOKE, tmp_path / "cut", **options, resume=True)
    assert torch.equal(
        checkpoint_of(trained)["history"], checkpoint_of(tmp_path / "cut")["history"]
    )
    assert rows_of(tmp_path / "cut") == rows_of(trained)


def test_resuming_must_agree_on_the_history(
    run: Path, data: ImageDataset, split: Split, held_out: ImageDataset, tmp_path: Path
) -> None:
    with pytest.raises(ArtefactError, match="its kept history was 20, now it is None"):
        train(split, data, held_out, SMOKE, run, **OPTIONS, resume=True)
    config = json.loads((run / CONFIG).read_text())
    for field in ("history", "init"):  # as fmsel wrote it before there was any
        del config[field]
    (run / CONFIG).write_text(json.dumps(config))
    assert train(split, data, held_out, SMOKE, run, **OPTIONS, resume=True)["steps"] == 20
    with pytest.raises(ArtefactError, match="its kept history was None, now it is 20"):
        train(split, data, held_out, SMOKE, run, **OPTIONS, resume=True, keep_history=True)


def test_the_last_twenty_rows_are_kept() -> None:
    history = no_history(3, 10, torch.device("cpu"))
    assert history.shape == (0, 3) and history.dtype == torch.uint8
    for row in range(27):
        history = with_row(history, torch.tensor([row, row + 1, 255]))
        assert len(history) == min(row + 1, 20)
    expected = [[row, row + 1, 255] for row in range(7, 27)]
    assert history.tolist() == expected
    many = with_row(no_history(1, 257, torch.device("cpu")), torch.tensor([256]))
    assert many.tolist() == [[256]]


# Starting from another run.


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
    other = shutil.copytree(run, tmp_path / "other" / "first")
    sorted((other / "checkpoints").iterdir())[-1].unlink()
    with pytest.raises(ArtefactError, match="its step to start from was 20, now it is 15"):
        train(split, data, None, SMOKE, cut, **{**options, "init_from": other}, resume=True)
    train(split, data, None, SMOKE, cut, **options, resume=True)
    assert_equal_weights(checkpoint_of(whole)["learner"], checkpoint_of(cut)["learner"])


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
