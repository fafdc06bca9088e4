"""`fmsel embed --from FOLDER` and `fmsel split --dask`: shards in, the same choice by workers."""

import sys
from pathlib import Path

import numpy as np
import pytest

from fmsel.cli.app import main
from fmsel.embeddings.vectors import Embeddings
from fmsel.embeddings.vectors.shards import ShardedRows
from fmsel.selection.geometry import dask_backend
from fmsel.selection.split import Split

CHOOSE = ["split", "--strategy", "rdss", "--budget", "10"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with vectors of the 1,438 digits in three shards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    rows = np.random.default_rng(0).normal(size=(1438, 6)).astype(np.float32)
    Path("dino.v2").mkdir()
    for number, part in enumerate(np.split(rows, [500, 501])):
        np.save(f"dino.v2/part-{number}.npy", part)
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_from_shards_to_a_choice_by_workers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "digits", "--from", "dino.v2"]) == 0
    said = capsys.readouterr()
    wrote = "wrote embeddings/digits-dino.v2.json (1,438 x 6 float32 in 3 shards of dino.v2)"
    assert wrote in said.out and "referred to, so keep them where they are" in said.err
    assert main([*CHOOSE, "--out", "here.json"]) == 0
    assert main([*CHOOSE, "--out", "there.json", "--dask", "local"]) == 0
    here, there = Split.load(Path("here.json")), Split.load(Path("there.json"))
    assert here.indices == there.indices and len(here) == 10
    assert here.provenance == there.provenance
    assert here.provenance["embeddings"]["file"] == "digits-dino.v2.json"


def test_reduced_shards_are_copied(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--normalise", "--out", "e.npy"]
    assert main(["embed", "digits", "--from", "dino.v2", *words]) == 0
    said = capsys.readouterr()
    assert "wrote e.npy (1,438 x 6 float32) and e.json" in said.out and "copied" in said.err
    assert not isinstance(Embeddings.load(Path("e.npy")).features, ShardedRows)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--from", "dino.v2", "--ids", "ids.txt"], "--ids goes with one file"),
        (["--from", "."], "holds no files part-*.npy"),
    ],
)
def test_bad_folders(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert sentence in refusal(capsys, "embed", "digits", *words)
    assert not Path("embeddings").exists()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("tcp://127.0.0.1:1", "no Dask scheduler answers at 'tcp://127.0.0.1:1'"),
        ("nowhere", "no Dask scheduler answers at 'nowhere'"),
        ("ftp://127.0.0.1:21", "no Dask scheduler answers at 'ftp://127.0.0.1:21'"),
        ("", "no Dask scheduler answers at ''"),
    ],
)
def test_bad_addresses(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    sentence: str,
) -> None:
    monkeypatch.setattr(dask_backend, "WAIT", 1)
    words = [*CHOOSE, "--dataset", "digits", "--dask", address]
    assert sentence in refusal(capsys, *words)
    assert not Path("splits").exists()


def test_missing_package_names_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    words = [*CHOOSE, "--dataset", "digits", "--dask", "local"]
    assert "pip install 'fmsel[dask]'" in refusal(capsys, *words)


def test_strategies_without_such_passes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("usl", "random"):
        words = ["split", "--strategy", name, "--budget", "4", "--dataset", "digits"]
        assert f"{name} has no pass over all" in refusal(capsys, *words, "--dask", "local")
