"""`fmsel bench train` reports what it measured; the counts behind it have closed forms."""

import json
from pathlib import Path

import pytest
import torch

from fmsel.cli.app import main
from fmsel.experiments.bench import CLASSES, COPIED, MATMUL_SIDE, roofline
from fmsel.fixmatch.presets import PAPER, SMOKE
from fmsel.report.bench import three_digits
from fmsel.training.engine.device import Precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MATMUL_SIDE, "cpu", 64)
    monkeypatch.setitem(COPIED, "cpu", 4096)


def test_bench_train_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    words = ["bench", "train", "--preset", "smoke", "--steps", "2", "--out", str(out)]
    assert main([*words, "--device", "cpu", "--mode", "eager"]) == 0
    assert "it/s over 2 steps" in capsys.readouterr().out
    figures = json.loads(out.read_text())
    assert set(figures["parts_ms_eager"]) == {
        "draw", "load", "augment", "forward", "backward", "update", "ema"
    }  # fmt: skip
    assert figures["it_per_s"] > 0 and figures["arch"] == SMOKE.arch
    assert figures["roofline"]["share"] == pytest.approx(
        figures["it_per_s"] / figures["roofline"]["it_per_s"]
    )
    assert main(words) == 2
    assert "already exists" in capsys.readouterr().err


def test_arithmetic_of_the_papers_step() -> None:
    """By hand: multiply-adds of every convolution of WRN-28-2, forward once and backward twice.

    The stem needs no gradient for its images, so its backward pass is once.
    """
    conv = 0
    for side, width in ((32, 32), (16, 64), (8, 128)):
        before = {32: 16, 64: 32, 128: 64}[width]
        conv += side * side * 9 * (before * width + 7 * width * width)
        conv += side * side * before * width  # the shortcut
    stem = 32 * 32 * 27 * 16
    head = 128 * CLASSES
    per_image = 2 * (3 * (conv + head) + 2 * stem)
    assert roofline(PAPER, CPU, "fp32")["flop_per_step"] == pytest.approx(960 * per_image)


@pytest.mark.parametrize(("precision", "size"), [("fp32", 4), ("bf16", 2)])
def test_traffic_of_the_papers_step(
    precision: Precision, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: what the convolutions of WRN-28-2 read and write, forward once, backward twice."""
    stem = 32 * 32 * (3 + 16)
    numbers = stem
    for side, width in ((32, 32), (16, 64), (8, 128)):
        before = {32: 16 * 32 * 32, 64: 32 * 32 * 32, 128: 64 * 16 * 16}[width]
        numbers += 2 * (before + side * side * width)  # a stage's first convolution and shortcut
        numbers += 7 * 2 * side * side * width
    monkeypatch.setattr("fmsel.experiments.bench.copy_bandwidth", lambda device: 1e6)
    monkeypatch.setattr("fmsel.experiments.bench.matmul_flops", lambda *_: 1e30)
    best = roofline(PAPER, CPU, precision)
    seconds = 960 * numbers * size * 3 / 1e6
    assert best["memory_ms"] == pytest.approx(1000 * seconds)
    assert best["it_per_s"] == pytest.approx(1 / seconds)


@pytest.mark.parametrize(
    ("value", "text"), [(0.38712, "0.387"), (1164.2, "1,160"), (27.0, "27"), (5.3e7, "53,000,000")]
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert three_digits(value) == text
