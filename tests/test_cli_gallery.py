"""`fmsel gallery`, through the command line."""

from pathlib import Path

import numpy as np
import pytest
from made_scores import record_of
from PIL import Image

from fmsel.cli.app import main
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.metrics.scores import Scores

USES = {"self-confidence": "formula", "conf": "training", "knn-density": "none"}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image folder of two classes, and its scores."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    rng = np.random.default_rng(0)
    for name in ("cat [old]", "dog"):
        Path("pets", name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(Path("pets", name, f"{i}.png"))
    score(load_dataset("./pets")).save(Path("scores/pets.npz"))
    return tmp_path


def score(data: ImageDataset) -> Scores:
    """By the order of the images, forwards, backwards, forwards."""
    forwards = np.arange(len(data), dtype=np.float32)
    arrays = dict(zip(USES, (forwards, -forwards, forwards), strict=True))
    records = {
        name: record_of(arrays[name], label_use=use, labels_sha256=data.labels_sha256)
        for name, use in USES.items()
    }
    return Scores(dataset=data.describe(), arrays=arrays, records=records)


@pytest.mark.parametrize(
    ("words", "stem", "shown"),
    [
        ([], "gallery/pets", ["self-confidence"]),
        (["--metric", "conf"], "gallery/pets-conf", ["conf"]),
        (
            ["--metric", "conf", "--metric", "knn-density", "--metric", "conf"],
            "gallery/pets-conf-knn-density",
            ["conf", "knn-density"],
        ),
        (["--all-metrics"], "gallery/pets-all", list(USES)),
        (["--out", "new/look.png"], "new/look", ["self-confidence"]),
        (["--out", "new/v1.2"], "new/v1.2", ["self-confidence"]),
        (["--out", "pets"], "pets/pets", ["self-confidence"]),
    ],
)
def test_it_writes_a_picture_and_a_page(
    words: list[str], stem: str, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gallery", "scores/pets.npz", "--images", "2", *words]) == 0
    assert capsys.readouterr().out.split("\n")[:2] == [f"wrote {stem}.png", f"wrote {stem}.html"]
    with Image.open(f"{stem}.png") as picture:
        assert picture.width > 300
    page = Path(f"{stem}.html").read_text()
    assert [name for name in USES if f">{name}<" in page] == shown
    assert "cat [old]" in page and page.count("<img") == 2 * 2 * 2 * len(shown)


def test_moved_images_are_found_by_data_root() -> None:
    Path("pets").rename("moved")
    assert main(["gallery", "scores/pets.npz"]) == 2
    assert main(["gallery", "scores/pets.npz", "--data-root", "moved"]) == 0


def test_a_second_time_needs_force(capsys: pytest.CaptureFixture[str]) -> None:
    Path("gallery").mkdir()
    Path("gallery/pets.html").write_text("mine")
    assert main(["gallery", "scores/pets.npz"]) == 2
    assert "gallery/pets.html already exists; pass --force" in capsys.readouterr().err
    assert [file.name for file in Path("gallery").iterdir()] == ["pets.html"]
    assert main(["gallery", "scores/pets.npz", "--force"]) == 0
    assert Path("gallery/pets.html").read_text() != "mine"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["scores/dogs.npz"], "there is no scores file scores/dogs.npz"),
        (["scores/pets.npz", "--metric", "agr"], "hold no metric 'agr'; they hold self-conf"),
        (
            ["scores/pets.npz", "--metric", "conf", "--all-metrics"],
            "--all-metrics shows every metric; leave it or --metric out",
        ),
        (["scores/pets.npz", "--images", "0"], "--images"),
        (["scores/pets.npz", "--out", "scores/pets.npz/x"], "cannot write to scores/pets.npz"),
    ],
)
def test_bad_words(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gallery", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("gallery").exists()


def test_other_images_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save("pets/dog/0.png")
    assert main(["gallery", "scores/pets.npz"]) == 2
    assert "scores/pets.npz scores 11 images of pets, not these" in capsys.readouterr().err
    assert not Path("gallery").exists()
