"""`fmsel embed` as it is typed: what it writes, and one sentence and exit 2 for bad input."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import timm
from PIL import Image
from pyarrow import parquet
from safetensors.torch import save_file

from fmsel.artefacts import sha256_file
from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.embeddings.contrastive.train import Simclr
from fmsel.embeddings.vectors import Embeddings
from fmsel.fixmatch.use import run_outputs
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import make_split

IDS = np.array([f"{i}.png" for i in range(20)])  # of an unlabelled folder


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with 20 unlabelled images, wide enough a terminal for one-line sentences."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    rng = np.random.default_rng(0)
    Path("pets").mkdir()
    for name in IDS:
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(Path("pets") / name)
    return tmp_path


def test_simclr_is_trained_as_long_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--encoder", "simclr", "--epochs", "2", "--device", "cpu"]
    assert main(["embed", "./pets", *words]) == 0
    said = capsys.readouterr()
    assert "wrote embeddings/pets-simclr.npy (20 x 128 float32)" in said.out
    assert "trains small-conv-32 for 2 epochs" in said.err
    found = Embeddings.load(Path("embeddings/pets-simclr.npy"))
    assert found.parameters["epochs"] == 2 and found.parameters["temperature"] == 0.1


def test_simclr_stopped_goes_on_with_the_same_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["embed", "./pets", "--encoder", "simclr", "--epochs", "4", "--device", "cpu"]
    assert main([*words, "--out", "whole.npy"]) == 0
    step = Simclr.advance

    def interrupted(learner: Simclr) -> None:
        step(learner)
        if learner.step == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Simclr, "advance", interrupted)
    capsys.readouterr()
    assert main(words) == 130
    assert "stopped: simclr is saved at step 2 of 4" in capsys.readouterr().err
    assert not Path("embeddings").exists()
    assert main(words) == 0  # step 2 is not done again
    assert Path("whole.npy").read_bytes() == Path("embeddings/pets-simclr.npy").read_bytes()


def test_timm_with_ones_own_weights(capsys: pytest.CaptureFixture[str]) -> None:
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), "w.safetensors")
    words = ["--encoder", "timm:test_resnet", "--weights", "w.safetensors", "--device", "cpu"]
    assert main(["embed", "./pets", *words]) == 0
    assert "wrote embeddings/pets-timm-test_resnet.npy (20 x 96" in capsys.readouterr().out


def vectors(width: int = 4) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(20, width)).astype(np.float32)


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence that `fmsel embed ./pets` refuses with; it must leave no file behind."""
    before = sorted(Path.cwd().rglob("*"))
    assert main(["embed", "./pets", *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert [line for line in said if line.startswith("error: ")] == said[-1:], said
    assert sorted(Path.cwd().rglob("*")) == before
    return said[-1]


def test_patches_of_an_unlabelled_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "./pets", "--pca", "6", "--normalise", "--seed", "2"]) == 0
    assert "wrote embeddings/pets-patches.npy (20 x 6 float32)" in capsys.readouterr().out
    found = Embeddings.load(Path("embeddings/pets-patches.npy"))
    np.testing.assert_allclose(np.linalg.norm(found.features, axis=1), 1, rtol=1e-5)
    assert (found.seed, found.parameters["pca"], found.uses_labels) == (2, 6, False)
    assert "already exists; pass --force" in refusal(capsys)
    assert main(["embed", "./pets", "--force"]) == 0


def test_vectors_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("dino.npz", v=vectors()[::-1], ids=IDS[::-1])
    words = ["--uses-labels", "--out", "e/mine.npy"]
    assert main(["embed", "./pets", "--from", "dino.npz", *words]) == 0
    assert "rows are matched with the images of pets by id" in capsys.readouterr().err
    found = Embeddings.load(Path("e/mine.npy"))
    np.testing.assert_array_equal(found.features, vectors())
    assert (found.encoder, found.uses_labels) == ("dino", True)


def test_a_constant_feature_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("v.npy", np.hstack([vectors(), np.ones((20, 2), np.float32)]))
    assert main(["embed", "./pets", "--from", "v.npy"]) == 0
    said = capsys.readouterr().err
    assert "note: v.npy: 2 of 6 features are the same for every image" in said
    assert "no ids, so the rows are taken in the order of pets, from 0.png to 19.png" in said


def test_rows_of_zeros_are_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    ours = vectors()
    ours[[3, 7]] = 0
    np.save("v.npy", ours)
    assert main(["embed", "./pets", "--from", "v.npy"]) == 0
    said = capsys.readouterr().err
    assert "v.npy: 2 of 20 rows are all zeros, the first of them row 3 (id 3.png)" in said


def test_features_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    data = load_dataset("digits")
    make_split(data, RandomStratified(), batch_size=40).save(Path("forty.json"))
    words = ["--preset", "smoke", "--steps", "4", "--device", "cpu", "--out", "runs/mine"]
    assert main(["train", "--split", "forty.json", *words]) == 0
    encoder = ["--encoder", "run:runs/mine"]
    assert main(["embed", "digits", *encoder, "--device", "cpu"]) == 0
    assert "wrote embeddings/digits-run-mine.npy (1,438 x 32 float32)" in capsys.readouterr().out
    found = Embeddings.load(Path("embeddings/digits-run-mine.npy"))
    expected = run_outputs(Path("runs/mine"), data, device="cpu")
    np.testing.assert_array_equal(found.features, expected.features)
    assert (found.encoder, found.uses_labels) == ("run:mine", True)
    known = {key: found.parameters[key] for key in ("labels", "step", "config_sha256", "features")}
    assert known == {
        "labels": 40,
        "step": 4,
        "config_sha256": sha256_file(Path("runs/mine/config.json")),
        "features": 32,
    }
    assert main(["embed", "digits", *encoder, "--pca", "3", "--normalise", "--out", "e.npy"]) == 0
    reduced = Embeddings.load(Path("e.npy"))
    assert reduced.features.shape == (1438, 3) and reduced.parameters["pca"] == 3
    assert "was trained on 1438 images of digits, not on" in refusal(capsys, *encoder)
    words = ["score", "digits", "--metric", "knn-density", "--embeddings"]
    assert main([*words, "embeddings/digits-run-mine.npy"]) == 2  # it knows labels


def npy(rows: np.ndarray) -> Callable[[], None]:
    return lambda: np.save("v.npy", rows, allow_pickle=True)


def npz(**arrays: np.ndarray) -> Callable[[], None]:
    return lambda: np.savez("v.npz", **arrays)  # type: ignore[arg-type]


def table(**columns: object) -> Callable[[], None]:
    return lambda: parquet.write_table(pa.table(columns), "v.parquet")


def with_value(value: float) -> np.ndarray:
    rows = vectors().astype(np.float64)
    rows[7, 2] = rows[9, 0] = value
    return rows


ZERO_ROW = np.where(np.arange(20)[:, None] == 3, 0, vectors())


@pytest.mark.parametrize(
    ("make", "words", "sentence"),
    [
        (npy(vectors()[:19]), "v.npy", "v.npy holds 19 rows, but pets has 20 train images"),
        (npy(with_value(np.nan)), "v.npy", "row 7 (id 7.png) holds a value that is NaN"),
        (npy(with_value(np.inf)), "v.npy", "; 2 of 20 rows do"),
        (npy(with_value(1e300)), "v.npy", "row 7 (id 7.png) holds a value that is NaN, infinite"),
        (npy(np.ones((20, 3))), "v.npy", "all 20 rows are the same"),
        (npy(np.ones(20)), "v.npy", "real numbers of shape (N, D), one row an image, got float64"),
        (npy(np.ones((20, 3, 2))), "v.npy", "of shape (20, 3, 2)"),
        (npy(np.ones((20, 0))), "v.npy", "of shape (20, 0)"),
        (npy(np.ones((20, 3), complex)), "v.npy", "got complex128"),
        (npy(np.array([[{}]] * 20)), "v.npy", "without pickle"),
        (npy(vectors()), "v.npy --ids id", "there is no file id, and v.npy can hold no ids"),
        (npy(vectors()), "v.npy --pca 5", "--pca must be in 1..4 for 20 vectors of 4 features"),
        (npy(vectors()), "v.npy --pca 0", "--pca must be in 1..4"),
        (npy(ZERO_ROW), "v.npy --normalise", "row 3 of the vectors is all zeros"),
        (npy(vectors()), "v.npy --encoder patches", "give one of the two"),
        (npy(vectors()), "v.npy --out e.json", "embeddings are written as .npy"),
        (lambda: None, "v.npy", "there is no file v.npy"),
        (lambda: Path("v.npy").write_text("x"), "v.npy", "read (no numpy file, or pickled); save"),
        (lambda: Path("v.npz").write_text("x"), "v.npz", "v.npz cannot be read"),
        (lambda: Path("v.parquet").write_text("x"), "v.parquet", "not a readable Parquet file"),
        (lambda: Path("v.pt").write_text("x"), "v.pt", "one of .npy, .npz, .parquet"),
        (npz(a=vectors(), b=vectors()), "v.npz", "must hold one array of shape (N, D), got 2"),
        (npz(a=vectors(), ids=IDS), "v.npz --ids name", "holds no 'name'; it holds a, ids"),
        (npz(a=vectors(), ids=IDS[:19]), "v.npz", "20 rows, but there are 19 ids"),
        (
            npz(a=vectors(), ids=np.array([*IDS[:19], IDS[0]])),
            "v.npz",
            "the id '0.png' more than once",
        ),
        (npz(a=vectors()[:18], ids=IDS[:18]), "v.npz", "has no row for '18.png' of pets (2 such"),
        (
            npz(a=vectors(), ids=np.array([*IDS[:19], "x"])),
            "v.npz",
            "the id 'x', which is no train im",
        ),
        (npz(a=vectors(), ids=np.arange(20) / 2), "v.npz", "whole numbers or text, got float64"),
        (table(v=list(vectors()), n=IDS), "v.parquet --ids x", "holds no 'x'; it holds v, n"),
        (table(v=[[1.0]] * 19 + [[1.0, 2.0]]), "v.parquet", "holds 1 numbers in row 0 and 2"),
        (table(v=[[1.0]] * 19 + [None]), "v.parquet", "holds 0 numbers in row 19 and 1"),
        (table(v=[[1.0, None]] * 20), "v.parquet", "row 0 (id 0.png) holds a value that is NaN"),
        (table(a=vectors()[:, 0], place=range(20)), "v.parquet", "place is neither"),
        (table(id=[*IDS[:19], None], a=vectors()[:, 0]), "v.parquet", "perhaps with gaps"),
    ],
)
def test_bad_files(
    capsys: pytest.CaptureFixture[str], make: Callable[[], None], words: str, sentence: str
) -> None:
    make()
    assert sentence in refusal(capsys, "--from", *words.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--encoder dino", "unknown encoder 'dino'; the encoders are "),
        ("--encoder timm:resnet5O", "no model 'resnet5O'; did you mean resnet50"),
        ("--encoder timm:resnet18 --offline", "--offline downloads no weights of resnet18"),
        ("--encoder simclr --epochs 0", "--epochs must be at least 1, got 0"),
        ("--epochs 3", "--epochs is for the encoder simclr, not for patches"),
        ("--encoder simclr --weights w.pth", "--weights is for the encoder timm, not for simclr"),
        ("--encoder run:x --epochs 3", "--weights is for the encoder timm:NAME, and --epochs for"),
        ("--from v.npy --epochs 3", "--weights is for the encoder timm:NAME, and --epochs for"),
        ("--encoder run:gone", "gone is not a run folder: it holds no config.json"),
        ("--ids ids.txt", "about a file of your own; give it as --from"),
        ("--pca 21", "--pca must be in 1..20 for 20 vectors of 3072 features"),
        ("--device abacus", "the device 'abacus' is not usable here"),
        ("--resize 3", "images of 3 pixels are too small for patch features"),
        ("--out file/e.npy", "cannot write to file"),
    ],
)
def test_bad_words(capsys: pytest.CaptureFixture[str], words: str, sentence: str) -> None:
    Path("file").write_text("in the way")
    assert sentence in refusal(capsys, *words.split())


def test_images_that_are_all_alike(capsys: pytest.CaptureFixture[str]) -> None:
    for name in IDS:
        Image.new("RGB", (8, 8)).save(Path("pets") / name)
    assert "patches features of pets: all 20 rows are the same" in refusal(capsys)


def test_missing_package_names_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table(v=list(vectors()))()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'fmsel[parquet]'" in refusal(capsys, "--from", "v.parquet")
