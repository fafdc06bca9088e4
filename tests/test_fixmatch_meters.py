"""What is measured between evaluations: pseudo-labels by class, and the alarm at a collapse."""

import json
import os
import signal
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fmsel.datasets import load_dataset
from fmsel.errors import Interrupted
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.loss import Losses
from fmsel.fixmatch.rules import PseudoLabels
from fmsel.fixmatch.run import train
from fmsel.fixmatch.run.loop import _warn_of_collapse
from fmsel.fixmatch.run.meters import Meters, collapsed
from fmsel.fixmatch.run.session import Session
from fmsel.selection.split import Split


def test_pseudo_labels_are_counted_by_class(seed: int) -> None:
    rng = np.random.default_rng(seed)
    meters = Meters(torch.full((50,), -1), 4, torch.zeros(()))
    counts, used = np.zeros(4), 0.0
    one = torch.tensor(1.0)
    for _ in range(3):
        classes, weights = rng.integers(0, 4, 20), rng.random(20) * (rng.random(20) > 0.4)
        pseudo = PseudoLabels(torch.from_numpy(classes), torch.from_numpy(weights))
        meters.add(Losses(one, one, one, one), pseudo, torch.arange(20))
        np.add.at(counts, classes, weights)
        used += float(weights.mean()) / 3
    means = meters.read(supervised=False)
    assert means.largest_class_share == pytest.approx(counts.max() / counts.sum())
    assert means.mask_rate == pytest.approx(used)
    meters.reset()
    meters.add(Losses(one, one, one, one), None, None)
    assert meters.read(supervised=True).largest_class_share is None


@pytest.mark.parametrize(
    ("mask_rate", "share", "n_classes", "expected"),
    [
        (0.9, 0.56, 10, True),
        (0.9, 0.54, 10, False),
        (0.9, 0.7, 2, False),
        (0.9, 0.8, 2, True),
        (0.1, 1.0, 10, False),
        (0.9, None, 10, False),
        (None, None, 10, False),
    ],
)
def test_collapse_is_most_images_in_one_class(
    mask_rate: float | None, share: float | None, n_classes: int, expected: bool
) -> None:
    assert collapsed(mask_rate, share, n_classes) is expected


def test_nothing_is_added_while_the_learner_is_frozen() -> None:
    frozen = torch.zeros(())
    meters = Meters(torch.zeros(5, dtype=torch.int64), 2, frozen)
    good, bad = torch.tensor(2.0), torch.tensor(float("nan"))
    pseudo = PseudoLabels(torch.tensor([0, 1, 0]), torch.ones(3))
    meters.add(Losses(good, good, good, good), pseudo, torch.arange(3))
    before = meters.read(supervised=False)
    frozen.fill_(1.0)
    meters.add(Losses(bad, bad, good, good), pseudo, torch.arange(3))
    meters.add(Losses(good, good, good, good), pseudo, torch.arange(3))
    assert meters.read(supervised=False) == before


@pytest.mark.parametrize(
    ("every", "shares", "expected"),
    [
        (100, (0.6, 0.2, 0.15, 1.0, 1.0), [1, 0, 0, 1, 0]),  # no onset silences a later one
        (20, (1.0, 0.9, 0.3, 0.2), [0, 0, 0, 0]),  # a start looks like it
        (20, (1.0, 1.0, 1.0, 1.0), [0, 0, 1, 0]),  # and is one where it does not pass
        (20, (1.0, 0.2, 0.3, 1.0), [0, 0, 0, 1]),
    ],
)
def test_a_collapse_is_warned_of_at_its_onset_but_not_at_the_start(
    every: int, shares: tuple[float, ...], expected: list[int]
) -> None:
    session = SimpleNamespace(inputs=SimpleNamespace(n_classes=10), rows=[])
    warned = []
    for count, share in enumerate(shares, start=1):
        row = {"step": count * every, "mask_rate": 1.0, "largest_class_share": share}
        session.rows.append(row)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _warn_of_collapse(session)  # type: ignore[arg-type]
        warned.append(len(caught))
    assert warned == expected


def test_a_collapse_is_warned_of_once_also_over_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but one label are of class 0, and every image gets a pseudo-label."""
    data, out = load_dataset("digits"), tmp_path / "run"
    zeros, one = np.flatnonzero(data.labels == 0)[:30], np.flatnonzero(data.labels == 1)[:1]
    split = Split(
        dataset=data.name,
        source=data.source.as_dict(),
        n=len(data),
        images_sha256=data.images_sha256,
        labels_sha256=data.labels_sha256,
        strategy="imported",
        parameters={},
        seed=0,
        indices=[*zeros.tolist(), *one.tolist()],
        label_use="none",
        class_counts={},
    )
    config = FixMatchConfig(
        arch="small-conv-4",
        steps=180,
        batch=16,
        mu=1,
        threshold=0.0,
        bn_momentum=0.1,
        eval_every=60,
    )
    options: dict[str, Any] = {
        "seed": 0, "device": "cpu", "precision": "fp32", "progress": False
    }  # fmt: skip
    said = "one of 10 classes has .* of the pseudo-labels, and 100% of the images have one"
    advance = Session.advance

    def advance_and_signal(self: Session) -> None:
        if self.step == 149:
            os.kill(os.getpid(), signal.SIGUSR1)
        advance(self)

    with monkeypatch.context() as patch, pytest.warns(UserWarning, match=said) as caught:
        patch.setattr(Session, "advance", advance_and_signal)
        with pytest.raises(Interrupted):
            train(split, data, None, config, out, **options)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(split, data, None, config, out, **options, resume=True)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["largest_class_share"] > 0.55 for row in rows][1:] == [True, True]
