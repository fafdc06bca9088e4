"""`fmsel demo`: every file and an honest sentence, with the training cut short."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_scores import record_of
from PIL import Image

import fmsel.experiments.demo
from fmsel.cli.app import main
from fmsel.datasets import ImageDataset
from fmsel.errors import Interrupted
from fmsel.experiments.compare import Comparison, Row
from fmsel.experiments.compare_groups import Group
from fmsel.experiments.statistics import Gain
from fmsel.fixmatch.presets import SMOKE
from fmsel.metrics.evidence import Settings
from fmsel.metrics.scores import Scores
from fmsel.report.demo import finding
from fmsel.selection.split import Split


def brightness(data: ImageDataset, settings: Settings) -> Scores:
    """Scores in place of those of a trained ensemble, which has tests of its own."""
    array = data.images.mean(axis=(1, 2, 3), dtype=np.float32)
    record = record_of(array, seed=settings.seed, labels_sha256=data.labels_sha256)
    names = ("self-confidence", "epoch-confidence")
    return Scores(
        dataset=data.describe(),
        arrays=dict.fromkeys(names, array),
        records=dict.fromkeys(names, record),
    )


@pytest.mark.slow
def test_the_demo_leaves_every_artefact_and_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fmsel.experiments.demo, "RECIPE", SMOKE)
    monkeypatch.setattr(fmsel.experiments.demo, "score_dataset", brightness)
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("Found: ") == 1
    assert "(n = 4 runs a row)" in printed
    assert Image.open(out / "demo.png").size == (2100, 990)
    scores = Scores.load(out / "scores" / "digits.npz")
    random, mixed = (Split.load(out / "splits" / f"{n}.json") for n in ("random", "mixed"))
    assert (len(random), random.label_use) == (40, "stratified")
    assert set(random.class_counts.values()) == set(mixed.class_counts.values()) == {4}
    assert mixed.images_sha256 == scores.dataset["images_sha256"]
    record = json.loads((out / "compare" / "compare.json").read_text())
    assert [(row["split"], row["mode"], row["n"]) for row in record["rows"]] == [
        ("random per class", "fixmatch", 4),
        ("mixed", "fixmatch", 4),
        ("random per class", "supervised", 4),
        ("mixed", "supervised", 4),
    ]
    assert main(["demo", "--out", str(out)]) == 2
    assert "already exists; pass --force" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Interrupted("saved; --resume to go on")])
def test_a_stopped_demo_says_how_to_start_over(
    stop: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise stop

    monkeypatch.setattr(fmsel.experiments.demo, "run_demo", stopped)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 130
    errors = capsys.readouterr().err
    assert "start over with the same command and --force" in errors
    assert "--resume" not in errors


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (Gain(mean=0.05, low=0.01, high=0.09), "beat the random one (+5.0 [+1.0, +9.0] points)"),
        (Gain(mean=-0.05, low=-0.09, high=-0.01), "lost to the random one (-5.0 [-9.0, -1.0]"),
        (Gain(mean=0.05, low=-0.01, high=0.11), "cannot be told from the random one (+5.0 [-1.0"),
        (Gain(mean=0.05, low=None, high=None), "cannot be told from the random one (+5.0 (n<3)"),
    ],
)
def test_the_finding_claims_no_more_than_the_interval(gain: Gain, verdict: str) -> None:
    group = Group(name="mixed", mode="fixmatch", runs=())
    row = Row(group=group, mean=0.8, sd=None, gain=gain, added=None)
    said = finding(Comparison(rows=(row,), baseline="random"))
    assert said.startswith(f"Found: the mixed split {verdict}")
