"""`fmsel scores` as it is typed: what it writes, and one sentence and exit 2 for bad input."""

import csv
from pathlib import Path

import numpy as np
import pytest
from made_scores import record_of
from PIL import Image

from fmsel.artefacts import sha256_array
from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.metrics.evidence import crossfit
from fmsel.metrics.evidence.network.recipe import Recipe
from fmsel.metrics.scores import MetricRecord, Scores

COUNT = 30  # images a class before a tenth is held out
TINY = Recipe(arch="small-conv-8", epochs=4, batch=16)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, wide enough a terminal for one-line sentences, tiny networks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(crossfit, "recipe_for", lambda *_: TINY)
    return tmp_path


def image_folder(
    root: Path, mislabelled: int = 0, classes: tuple[str, ...] = ("cat", "dog")
) -> None:
    """Dark cats and bright dogs; the first `mislabelled` cats are bright too."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(COUNT):
            bright = number == 1 or i < mislabelled
            pixels = rng.integers(0, 60, (8, 8, 3)) + 180 * bright
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i:02}.png")


def write_scores(folder: str, *names: str, low: slice = slice(0)) -> Path:
    """A scores file of `folder` with random metrics; those of images `low` are at the bottom."""
    data = load_dataset(folder)
    rng = np.random.default_rng(1)
    arrays = {}
    for name in names:
        arrays[name] = rng.uniform(1, 2, len(data)).astype(np.float32)
        arrays[name][low] = rng.uniform(0, 0.5)
    records = {
        name: record_of(
            array, seconds=0.1, compute_seconds={"crossfit": 2.0}, labels_sha256=data.labels_sha256
        )
        for name, array in arrays.items()
    }
    path = Path("scores") / f"{data.name}.npz"
    Scores(dataset=data.describe(), arrays=arrays, records=records).save(path)
    return path


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence that `fmsel scores` refuses with; it must leave no file behind."""
    before = sorted(Path.cwd().rglob("*"))
    assert main(["scores", *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert [line for line in said if line.startswith("error: ")] == said[-1:], said
    assert sorted(Path.cwd().rglob("*")) == before
    return said[-1]


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("pets"))
    path = str(write_scores("./pets", "conf", "agr"))
    Path("people.csv").write_text("index,score\n" + "".join(f"{i},{i % 7}\n" for i in range(20)))
    words = ["report", path, "--reference", "people.csv"]
    assert main(["scores", *words]) == 0
    out = capsys.readouterr().out
    assert "people: 20 images" in out and "consensus" in out and "oracle" in out
    assert {p.name for p in Path("scores/pets-report").iterdir()} == {"report.html", "report.png"}
    assert "report.html already exists; pass --force" in refusal(capsys, *words)


def test_report_refuses_what_does_not_belong(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("pets"))
    path = str(write_scores("./pets", "conf"))
    said = refusal(capsys, "report", path, "--published-sets")
    assert "the published sets are of cifar10 with 50,000 training images" in said
    np.savez("short.npz", np.arange(5))
    said = refusal(capsys, "report", path, "--reference", "short.npz")
    assert "values of shape (5,) for 54 images; add an array `index`" in said
    assert "nowhere.csv cannot be read" in refusal(
        capsys, "report", path, "--reference", "nowhere.csv"
    )
    assert "there is no scores file none.npz" in refusal(capsys, "report", "none.npz")
    Image.new("RGB", (8, 8)).save("pets/cat/00.png")
    assert "not these 54 images of pets (their sha256 differ)" in refusal(capsys, "report", path)


def test_report_of_images_without_labels(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("pets"))
    Path("all").mkdir()
    for i, file in enumerate(sorted(Path("pets").rglob("*.png"))):
        file.rename(Path("all") / f"{i}.png")
    path = str(write_scores("./all", "knn-density", "lof"))
    assert main(["scores", "report", path]) == 0
    for words in (["categories", path], ["suspects", path]):
        assert "all has images without a label" in refusal(capsys, *words)


def test_categories_say_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("pets"))
    path = str(write_scores("./pets", "knn-density", "self-confidence"))
    assert main(["scores", "categories", path]) == 0
    out = capsys.readouterr().out
    assert "no memorized exceptions: they need one of conf, agr;" in out
    assert f"pets --metric conf --out {path}` adds them" in out
    found = rows("scores/pets-categories.csv")
    assert [row["index"] for row in found] == [str(i) for i in range(54)]
    assert {row["class"] for row in found} == {"cat", "dog"}
    assert {row["category"] for row in found} <= {"", "canonical prototype", "uncommon submode"}
    assert "pets-categories.csv already exists" in refusal(capsys, "categories", path)
    assert "ends in .csv or .json" in refusal(capsys, "categories", path, "--out", "a.txt")


def test_categories_find_submodes_in_given_embeddings() -> None:
    image_folder(Path("pets"))
    data = load_dataset("./pets")
    path = str(write_scores("./pets", "noise-tolerance", low=slice(0, 6)))
    made = Scores.load(Path(path))
    sure = np.full(54, 0.9, dtype=np.float32)
    record = MetricRecord(**{**vars(made.records["noise-tolerance"]), "sha256": sha256_array(sure)})
    Scores(
        dataset=made.dataset,
        arrays={**made.arrays, "self-confidence": sure},
        records={**made.records, "self-confidence": record},
    ).save(Path(path), force=True)
    features = np.random.default_rng(0).normal(size=(54, 3)).astype(np.float32)
    features[:6] += 40
    Embeddings(
        dataset=data.describe(),
        features=features,
        encoder="dino",
        parameters={},
        seed=0,
        uses_labels=False,
    ).save(Path("e.npy"))
    assert main(["scores", "categories", path, "--embeddings", "e.npy"]) == 0
    found = rows("scores/pets-categories.csv")
    assert {row["category"] for row in found[:6]} == {"uncommon submode"}
    assert {row["cluster"] for row in found[:6]} == {"0"}
    assert {row["cluster"] for row in found[6:]} == {"-1"}


def test_submodes_by_default_are_sought_in_patch_features(
    capsys: pytest.CaptureFixture[str],
) -> None:
    image_folder(Path("pets"))
    path = str(write_scores("./pets", "self-confidence", "noise-tolerance"))
    assert main(["scores", "categories", path, "--out", "c.json"]) == 0
    assert "patches: 3,072 patch features of 54 images" in capsys.readouterr().err
    assert Path("c.json").read_text().count('"index"') == 54


def test_suspects_are_the_mislabelled(capsys: pytest.CaptureFixture[str]) -> None:
    image_folder(Path("pets"), mislabelled=4)
    path = str(write_scores("./pets", "conf"))
    assert main(["scores", "suspects", path, "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert "crossfit: 6 of 6 jobs to do" in said.err and "suspects among 54 images" in said.out
    found = rows("scores/pets-suspects.csv")
    assert found and all((row["given"], row["proposed"]) == ("cat", "dog") for row in found)
    assert {Path(row["id"]).stem for row in found} <= {"00", "01", "02", "03"}
    quality = [float(row["score"]) for row in found]
    assert quality == sorted(quality) and quality[-1] < 0.5
    assert main(["scores", "suspects", path, "--device", "cpu", "--count", "1", "--force"]) == 0
    assert "crossfit: from the cache" in capsys.readouterr().err
    assert rows("scores/pets-suspects.csv") == found[:1]
