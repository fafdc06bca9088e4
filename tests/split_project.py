"""An empty working folder for `fmsel split`, and scores of digits whose ranks are known.

A test module that uses it begins with `pytest_plugins = ["split_project"]`. It imports this
module before pytest does, hence PYTEST_DONT_REWRITE.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from made_scores import record_of

from fmsel.cli.app import main
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.metrics.scores import Scores
from fmsel.selection.split import Split


@pytest.fixture(scope="session")
def digits() -> ImageDataset:
    return load_dataset("digits")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, wide enough a terminal for one-line sentences."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


def write_scores(
    data: ImageDataset,
    path: str = "scores/digits.npz",
    *,
    images_sha256: str | None = None,
    scale: Mapping[str, float] | None = None,
) -> Scores:
    """Two metrics that agree: the share of ink, so that ranks are known without any network.

    Args:
        scale: multiplies the scores of some metrics; replaces an old file.
    """
    ink = data.images.astype(np.float32).mean(axis=(1, 2, 3)) + np.arange(len(data)) * 1e-4
    arrays = {name: ink.astype(np.float32) for name in ("self-confidence", "epoch-confidence")}
    arrays["reverse"] = -arrays["self-confidence"]
    arrays |= {name: arrays[name] * np.float32(factor) for name, factor in (scale or {}).items()}
    records = {
        name: record_of(array, labels_sha256=data.labels_sha256) for name, array in arrays.items()
    }
    dataset = data.describe() | ({"images_sha256": images_sha256} if images_sha256 else {})
    scores = Scores(dataset=dataset, arrays=arrays, records=records)
    scores.save(Path(path), force=scale is not None)
    return scores


def fmsel(*words: str) -> None:
    assert main(["split", *words]) == 0


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence that bad input is answered with."""
    capsys.readouterr()
    assert main(["split", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


def read(name: str) -> Split:
    return Split.load(Path("splits") / name)


def counts(split: Split) -> set[int]:
    return set(split.class_counts.values())
