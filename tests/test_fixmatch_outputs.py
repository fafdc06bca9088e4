"""A run's outputs for all training images, as arrays and as embeddings."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trained_run import (
    CONFIG,
    OPTIONS,
    averaged,
    checkpoint_of,
    plain_logits,
)

from fmsel.artefacts import sha256_file
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError
from fmsel.fixmatch.presets import SMOKE
from fmsel.fixmatch.run import train
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.use import outputs, run_outputs
from fmsel.fixmatch.use.embed import run_embeddings
from fmsel.selection.split import Split

pytest_plugins = ["trained_run"]


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
