"""`fmsel predict` on a run that was really trained, against a forward pass written out here."""

import csv
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fmsel.cli.app import main
from fmsel.datasets import ImageDataset, digits, load_dataset
from fmsel.datasets.images.request import Request
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.use.predict import write_predictions
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import make_split
from fmsel.training.networks.small_conv import SmallConv

CPU = ["--device", "cpu", "--precision", "fp32"]
NAMES = [str(name) for name in range(10)]


def train_run(root: Path, data: ImageDataset, name: str = "run") -> Path:
    """`fmsel train` on 40 random digits: 20 steps of a network of 8 channels."""
    make_split(data, RandomStratified(), batch_size=40, seed=0).save(root / f"{name}.json")
    words = ["train", "--split", str(root / f"{name}.json"), "--preset", "smoke", *CPU]
    assert main([*words, "--out", str(root / name)]) == 0
    return root / name


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("study"), load_dataset("digits"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(trained: Path, home: Path) -> Path:
    """A copy of the run, to be harmed."""
    return Path(shutil.copytree(trained, home / "run").name)


def expected(
    run: Path, pixels: npt.NDArray[np.uint8], weights: str = "ema"
) -> npt.NDArray[np.float64]:
    """Probabilities in float64, of the averaged or the live parameters."""
    saved = RunFolder(run).restore(torch.device("cpu"))
    assert saved is not None
    learner: Mapping[str, Any] = saved[0]["learner"]
    network = SmallConv(10, 8, 8)
    network.load_state_dict(learner["model"])
    if weights == "ema":
        for name, parameter in network.named_parameters():
            parameter.data.copy_(learner["ema"][name])
    images = torch.tensor(pixels.transpose(0, 3, 1, 2) / 127.5 - 1)
    with torch.no_grad():
        logits = network.double().eval()(images).numpy()
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def read(path: Path) -> tuple[list[str], list[str], npt.NDArray[np.float64]]:
    """ids, classes and probabilities of a CSV whose confidence is that of the class."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "class", "confidence", *(f"p_{name}" for name in NAMES)]
    shares = np.array([[float(cell) for cell in row[3:]] for row in rows])
    assert [row[1] for row in rows] == [NAMES[k] for k in shares.argmax(axis=1)]
    assert [float(row[2]) for row in rows] == shares.max(axis=1).tolist()
    return [row[0] for row in rows], [row[1] for row in rows], shares


def write_images(folder: Path) -> list[tuple[str, Image.Image]]:
    """Files of many modes and sizes in nested folders; each with its RGB form as Pillow has it."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 24, 24, 3), dtype=np.uint8)
    rgb = [Image.fromarray(image).resize((8, 8)) for image in noise]
    wide = Image.fromarray(noise[0]).resize((20, 13))
    made = {
        "2.png": rgb[1],
        "10.png": rgb[2].convert("L"),
        "more/1.png": rgb[3].convert("1"),
        "more/deep/palette.gif": rgb[4].convert("P"),
        "more/deep/wide.png": wide,
    }
    for path, image in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / path)
    (folder / "notes.txt").write_text("no image")
    return [
        (path, ImageOps.fit(image.convert("RGB"), (8, 8), Image.Resampling.BICUBIC))
        for path, image in made.items()
    ]


def test_new_images_are_labelled_by_the_averaged_network(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(Path("new"))
    assert main(["predict", str(trained), "new", *CPU]) == 0
    assert f"labelled 5 images with {trained} (step 20 of 20)" in capsys.readouterr().out
    ids, _, shares = read(Path("predictions/run.csv"))
    assert ids == [path for path, _ in images]
    pixels = np.stack([np.asarray(image) for _, image in images])
    error = np.abs(shares - expected(trained, pixels)).max()
    print(f"largest difference from float64: {error:.2g}")
    assert error < 2e-6
    assert np.abs(shares - expected(trained, pixels, "live")).max() > 1e-3


def hide(monkeypatch: pytest.MonkeyPatch, every: int = 5) -> ImageDataset:
    """Make the digits a data set of which people labelled one image in `every`."""
    load = digits.load

    def partly(request: Request) -> ImageDataset:
        data = load(request)
        known = np.arange(len(data)) % every == 0
        return replace(data, labels=np.where(known, data.labels, -1))

    monkeypatch.setattr(digits, "load", partly)
    return load_dataset("digits")


def test_images_of_the_data_set_without_a_label_are_labelled(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = hide(monkeypatch)
    run = train_run(home, data, "partly")
    assert main(["predict", str(run), *CPU, "--out", "found.csv"]) == 0
    ids, _, shares = read(Path("found.csv"))
    unknown = np.flatnonzero(data.labels < 0)
    assert len(ids) == len(data) - len(data.labels[::5]) > 1000  # more than one batch
    assert ids == data.ids[unknown].tolist()
    np.testing.assert_allclose(shares, expected(run, data.images[unknown]), atol=2e-6, rtol=0)


def test_without_unlabelled_images_it_points_to_a_folder(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run)]) == 2
    said = capsys.readouterr().err
    assert "have a label in digits; name a folder of new images: fmsel predict run PATH" in said
    assert not Path("predictions").exists()


def test_other_images_than_the_runs_are_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run, images_sha256="0" * 64)
    assert main(["predict", str(run)]) == 2
    assert "was trained on 1438 images of digits, not on these" in capsys.readouterr().err


def change(run: Path, **fields: object) -> None:
    """Change what config.json says of the data set; None removes."""
    values = json.loads((run / "config.json").read_text())
    kept = {**values["dataset"], **fields}
    values["dataset"] = {name: value for name, value in kept.items() if value is not None}
    (run / "config.json").write_text(json.dumps(values))


def test_class_names_come_from_the_run_even_where_its_data_set_is_gone(run: Path) -> None:
    gone = {"dataset": "/no/such/folder"}
    names = [f"class {k}" for k in range(10)]
    change(run, class_names=names, image_side=8, source=gone)
    write_images(Path("new"))
    assert main(["predict", str(run), "new", *CPU]) == 0
    assert "p_class 3" in Path("predictions/run.csv").read_text().splitlines()[0]


def test_a_run_that_does_not_hold_the_class_names_asks_its_data_set(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run, class_names=None, image_side=None)
    write_images(Path("new"))
    assert main(["predict", str(run), "new", *CPU]) == 0
    assert read(Path("predictions/run.csv"))[0][0] == "2.png"
    change(run, source={"dataset": "/no/such/folder"})
    assert main(["predict", str(run), "new", "--out", "other.csv"]) == 2
    assert "/no/such/folder cannot be read" in capsys.readouterr().err


def test_an_unfinished_run_is_used_and_named_so(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (run / "config.json").read_text()
    assert text.count('"steps": 20') == 1
    (run / "config.json").write_text(text.replace('"steps": 20', '"steps": 50'))
    (run / "summary.json").unlink()
    write_images(Path("new"))
    assert main(["predict", str(run), "new"]) == 0
    assert "(step 20 of 50, the run is not finished)" in capsys.readouterr().out


def test_an_existing_file_is_kept_unless_forced(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("new"))
    Path("mine.csv").write_text("mine")
    words = ["predict", str(run), "new", *CPU, "--out", "mine.csv"]
    assert main(words) == 2
    assert "mine.csv already exists; pass --force" in capsys.readouterr().err
    assert Path("mine.csv").read_text() == "mine"
    assert main([*words, "--force"]) == 0
    assert len(read(Path("mine.csv"))[0]) == 5


@pytest.mark.parametrize(
    ("harm", "words", "sentence"),
    [
        (
            "unreadable",
            ["run", "new"],
            "1 of 6 images in new cannot be used: more/9.png (its bytes",
        ),
        ("empty", ["run", "empty"], "empty holds no images; name a folder of images"),
        ("", ["run", "missing"], "the image folder missing cannot be read"),
        ("", ["new", "new"], "new is not a run folder: it holds no config.json"),
        ("checkpoint", ["run", "new"], "run has no checkpoint yet; go on with"),
        ("arch", ["run", "new"], "the checkpoint of run does not belong to its config.json"),
        ("config", ["run", "new"], "run/config.json lacks the field 'n' of its data set"),
        ("", ["run", "new", "--device", "magic"], "device 'magic' is not usable"),
        ("", ["run", "new", "--precision", "fp8"], "precision 'fp8' must be one of"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    harm: str, words: list[str], sentence: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("new"))
    if harm == "unreadable":
        Path("new/more/9.png").write_text("no image")
    elif harm == "empty":
        Path("empty/deep").mkdir(parents=True)
    elif harm == "checkpoint":
        shutil.rmtree(run / "checkpoints")
    elif harm == "arch":
        text = (run / "config.json").read_text()
        (run / "config.json").write_text(text.replace("small-conv-8", "small-conv-9"))
    elif harm == "config":
        change(run, n=None)
    assert main(["predict", *words]) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert errors.count("\n") == 1
    assert not Path("predictions").exists()


file_names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


@given(st.lists(file_names, min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_any_file_name_and_probability_comes_back(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], seed: int
) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.full(10, 0.1), len(ids)).astype(np.float32)
    path = tmp_path_factory.getbasetemp() / "law.csv"
    write_predictions(path, ids, NAMES, shares, force=True)
    found, _, values = read(path)
    assert found == ids
    np.testing.assert_allclose(values, shares, rtol=5e-6, atol=1e-40)  # below: denormal


def test_a_file_name_that_is_not_utf8_keeps_its_bytes(home: Path) -> None:
    name = b"\xff.png".decode(errors="surrogateescape")
    write_predictions(home / "odd.csv", [name], NAMES, np.full((1, 10), 0.1, np.float32))
    assert (home / "odd.csv").read_bytes().splitlines()[1].startswith(b"\xff.png,0,0.1,")
