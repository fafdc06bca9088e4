"""`fmsel score` as it is typed: what it writes, and one sentence and exit 2 for bad input."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmsel.cli.app import main
from fmsel.metrics.evidence.network import recipe
from fmsel.metrics.scores import Scores


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, a terminal wide enough for one-line sentences, short trainings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipe, "MIN_STEPS", 10)
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


def image_folder(root: Path, classes: tuple[str, ...] = ("a", "b"), count: int = 8) -> Path:
    """`count` images of 8x8 pixels a class, each class of its own brightness."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 90, (8, 8, 3)) + 80 * number
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.png")
    return root


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence that `fmsel score` refuses with; it must leave no file behind."""
    before = sorted(Path.cwd().rglob("*"))
    assert main(["score", *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert [line for line in said if line.startswith("error: ")] == said[-1:], said
    assert sorted(Path.cwd().rglob("*")) == before
    return said[-1]


def test_leave_one_out_of_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("pets"), ("cat [old]", "[bold]"))
    assert main(["score", "./pets", "--metric", "leave-one-out"]) == 0
    out = capsys.readouterr().out
    assert "cat [old]" in out and "[bold]" in out and "wrote scores/pets.npz" in out
    scores = Scores.load(Path("scores/pets.npz"))
    assert list(scores.arrays) == ["leave-one-out"] and len(scores) == 14


def test_a_second_time_needs_force(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("pets"))
    words = ("./pets", "--metric", "leave-one-out")
    assert main(["score", *words]) == 0
    capsys.readouterr()
    made = Path("scores/pets.npz").read_bytes()
    assert "scores/pets.npz already holds leave-one-out; pass --force" in refusal(capsys, *words)
    assert Path("scores/pets.npz").read_bytes() == made
    assert main(["score", *words, "--force"]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["cifar"], "cifar10"),
        (["digits", "--metric", "typicality"], "unknown metric 'typicality'; the metrics are adv"),
        (["cifar10", "--offline"], "--offline"),
        (["digits", "--device", "abacus"], "the device 'abacus' is not usable here"),
        (["digits", "--precision", "fp8"], "precision 'fp8' must be one of auto, fp32, bf16"),
        (["./nowhere"], "nowhere"),
        (
            ["digits", "--embeddings", "v.npy"],
            "none of self-confidence, epoch-confidence, conf, agr",
        ),
        (["digits", "--metric", "lof", "--embeddings", "v.npy"], "v.npy is no embeddings file"),
    ],
)
def test_bad_words(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert sentence in refusal(capsys, *words)


def test_one_class_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("pets"), ("a",))
    assert "class" in refusal(capsys, "./pets")


def test_unreadable_image_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("pets"))
    Path("pets/a/3.png").write_bytes(b"no image")
    assert "a/3.png" in refusal(capsys, "./pets")


def test_unlabelled_folder_has_nothing_to_rank_by(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("all"), ("a",))
    for file in Path("all/a").iterdir():
        file.rename(Path("all") / file.name)
    Path("all/a").rmdir()
    assert "all has images without a label" in refusal(capsys, "./all")


def test_images_that_are_all_alike(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        Path("black", name).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (8, 8)).save(Path("black", name, f"{i}.png"))
    said = refusal(capsys, "./black", "--metric", "leave-one-out")
    assert "all images of black look the same" in said


def test_tiny_images(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("pets"))
    said = refusal(capsys, "./pets", "--resize", "3", "--metric", "leave-one-out")
    assert "images of 3 pixels are too small for patch features; use at least 4" in said
    said = refusal(capsys, "./pets", "--resize", "4", "--metric", "conf")
    assert "images of 4 pixels are too small; use at least 8" in said


@pytest.mark.parametrize("place", ["file/scores.npz", "/proc/fmsel/scores.npz"])
def test_read_only_output(capsys: pytest.CaptureFixture[str], place: str) -> None:
    if place.startswith("/proc") and not Path("/proc").exists():
        pytest.skip("no /proc here")
    Path("file").write_text("in the way")
    said = refusal(capsys, "digits", "--out", place)
    assert f"cannot write to {Path(place).parent}" in said


def test_ctrl_c_says_what_is_kept(tmp_path: Path) -> None:
    # A shell without job control starts background jobs deaf to Ctrl-C; this one must hear it.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from fmsel.cli.app import main; sys.exit(main(['score', 'digits']))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FMSEL_CACHE": str(tmp_path / "cache")}
    job = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=environment
    )
    assert job.stderr is not None
    assert any("6 of 6 jobs to do" in line for line in iter(job.stderr.readline, ""))
    time.sleep(1)
    job.send_signal(signal.SIGINT)
    assert "stopped: nothing unfinished was written" in job.stderr.read()
    assert job.wait(timeout=60) == 130
    assert not Path("scores").exists()


def test_a_group_makes_the_metrics_that_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("pets"))
    assert main(["score", "./pets", "--metric", "conf", "--metric", "knn-density"]) == 0
    before = Scores.load(Path("scores/pets.npz"))
    capsys.readouterr()
    assert main(["score", "./pets", "--metric", "default"]) == 0
    assert "already holds conf; these are kept" in capsys.readouterr().err
    made = Scores.load(Path("scores/pets.npz"))
    assert set(made.arrays) == {"conf", "knn-density", "self-confidence", "epoch-confidence", "agr"}
    assert made.records["conf"] == before.records["conf"]
    assert "already holds self-confidence" in refusal(capsys, "./pets")
    assert main(["score", "./pets", "--force"]) == 0


def test_many_metrics_leave_their_correlations_to_the_report(
    capsys: pytest.CaptureFixture[str],
) -> None:
    image_folder(Path("pets"))
    free = ["knn-density", "lof", "ssl-prototype", "isolation-forest"]
    words = [
        w for name in (*free, "leave-one-out", "forgetting", "aum") for w in ("--metric", name)
    ]
    assert main(["score", "./pets", *words]) == 0
    said = capsys.readouterr().out
    assert "`fmsel scores report` compares them" in said and "Spearman" not in said
    assert all(name in said for name in free)


def test_label_free_metrics_of_an_unlabelled_folder(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("all"), ("a",))
    for file in Path("all/a").iterdir():
        file.rename(Path("all") / file.name)
    Path("all/a").rmdir()
    assert main(["score", "./all", "--metric", "knn-density", "--metric", "lof"]) == 0
    assert "knn-density" in capsys.readouterr().out
    assert Scores.load(Path("scores/all.npz")).records["lof"].label_use == "none"
