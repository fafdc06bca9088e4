"""A run's history: what its network predicted of every image at its last evaluations."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from trained_run import (
    CONFIG,
    OPTIONS,
    Killed,
    assert_equal_weights,
    averaged,
    checkpoint_of,
    plain_logits,
    rows_of,
    stop_after,
)

from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError, Interrupted
from fmsel.fixmatch.presets import SMOKE
from fmsel.fixmatch.run import evaluate, train
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.history import no_history, with_row
from fmsel.fixmatch.use import load_trained, run_outputs
from fmsel.selection.split import Split
from fmsel.training.augment.weak import to_float

pytest_plugins = ["trained_run"]


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
