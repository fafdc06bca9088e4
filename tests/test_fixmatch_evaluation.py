"""What an evaluation records beside the accuracy, against scikit-learn; and older run folders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from fmsel.datasets import load_dataset
from fmsel.fixmatch.loss import fixmatch_loss, supervised_loss
from fmsel.fixmatch.presets import SMOKE
from fmsel.fixmatch.rules import PseudoLabels
from fmsel.fixmatch.run import RunRecord, evaluate, loop, train
from fmsel.fixmatch.run.averaged import averaged_network, last_checkpoint
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import make_split
from fmsel.training.augment.weak import to_float

DATA, TEST = load_dataset("digits"), load_dataset("digits", "test")
SPLIT = make_split(DATA, RandomStratified(), batch_size=20)
FP32: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few steps, evaluated in several batches of unequal size."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "BATCH", 100)
        train(SPLIT, DATA, TEST, SMOKE, out, seed=3, **FP32)
    return out


@torch.no_grad()
def test_loss_and_confusion_are_scikit_learns(run: Path) -> None:
    record = RunRecord.load(run)
    tensors, _ = last_checkpoint(run, torch.device("cpu"))
    network = averaged_network(run, record.config, tensors, 10, TEST.images.shape[1]).eval()
    pixels = torch.tensor(TEST.images).permute(0, 3, 1, 2)
    probabilities = network(to_float(pixels)).double().softmax(dim=1).numpy()
    given = probabilities.argmax(axis=1)
    expected = confusion_matrix(TEST.labels, given, labels=np.arange(10))
    np.testing.assert_array_equal(record.summary["confusion"], expected)
    assert len(set(given)) > 1 and (expected != expected.T).any()  # rows are told from columns
    last = record.rows[-1]
    assert last["ema_loss"] == pytest.approx(log_loss(TEST.labels, probabilities), rel=1e-5)
    assert last["ema_accuracy"] == accuracy_score(TEST.labels, given)


def test_labelled_accuracy_is_that_of_the_steps_own_logits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(12, 4)).astype(np.float32)).requires_grad_()
    labels = torch.from_numpy(rng.integers(0, 4, 12))
    pseudo = PseudoLabels(torch.zeros(8, dtype=torch.int64), torch.ones(8))
    expected = accuracy_score(labels, logits.detach().argmax(dim=1))
    losses = fixmatch_loss(logits, labels, torch.zeros(8, 4), pseudo, 1.0)
    assert float(losses.right) == pytest.approx(expected)
    assert float(supervised_loss(logits, labels).right) == pytest.approx(expected)
    assert not losses.right.requires_grad


def test_a_checkpoint_of_before_goes_on(run: Path, tmp_path: Path) -> None:
    """Without the new sums and the confusion: the same weights, and what it did not count is None
    or of the steps since."""
    old = tmp_path / "old"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(RunFolder, "save", _as_before(RunFolder.save, stop_at=7))
        with pytest.raises(KeyboardInterrupt):
            train(SPLIT, DATA, TEST, SMOKE, old, seed=3, **FP32)
    rows = [json.loads(line) for line in (old / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5] and "ema_loss" not in rows[0]
    train(SPLIT, DATA, TEST, SMOKE, old, seed=3, **FP32, resume=True)
    whole, again = RunRecord.load(run), RunRecord.load(old)
    np.testing.assert_array_equal(again.ema_accuracy, whole.ema_accuracy)
    assert np.isnan(again.series("ema_loss")[0]) and np.isfinite(again.series("ema_loss")[1:]).all()
    np.testing.assert_array_equal(
        again.series("accuracy_labelled")[2:], whole.series("accuracy_labelled")[2:]
    )
    assert 0 <= again.series("accuracy_labelled")[1] <= 1
    assert again.summary["confusion"] == whole.summary["confusion"]


def _as_before(save: Any, stop_at: int) -> Any:
    """`RunFolder.save` as an older fmsel wrote, stopped after the checkpoint of step `stop_at`."""

    def saved(folder: Any, tensors: Any, state: Any, rows: Any) -> None:
        sums = tensors["meters"]
        older = {**tensors, "meters": torch.cat([sums[:7], sums[9:]])}
        older.pop("confusion", None)
        new = ("ema_loss", "accuracy_labelled")
        lines = [{k: v for k, v in row.items() if k not in new} for row in rows]
        save(folder, older, {**state, "rows": lines}, lines)
        if state["step"] == stop_at:
            raise KeyboardInterrupt

    return saved


def test_older_run_folders_load(run: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for path in run.glob("*.json*"):
        (old / path.name).write_text(path.read_text())
    summary = json.loads((old / "summary.json").read_text())
    del summary["confusion"]
    (old / "summary.json").write_text(json.dumps(summary))
    rows = [json.loads(line) for line in (old / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["ema_loss"], row["accuracy_labelled"]
    (old / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = RunRecord.load(old)
    assert np.isnan(record.series("ema_loss")).all() and record.confusion is None
    assert np.isfinite(record.series("loss")).all()
    found = RunRecord.load(run).confusion
    assert found is not None and found.sum() == len(TEST)
