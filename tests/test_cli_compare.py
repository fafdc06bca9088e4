"""`fmsel compare` on runs that were really trained, for a few steps each."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.fixmatch.presets import SMOKE
from fmsel.fixmatch.run import RunRecord, train
from fmsel.selection.random import Random
from fmsel.selection.split import make_split


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two FixMatch runs and one supervised-only, on random splits of digits."""
    root = tmp_path_factory.mktemp("study") / "runs"
    data, test = load_dataset("digits"), load_dataset("digits", "test")
    for seed, supervised_only in ((0, False), (1, False), (0, True)):
        split = make_split(data, Random(), batch_size=20, seed=seed)
        out = root / f"{'supervised' if supervised_only else 'fixmatch'}-seed{seed}"
        train(
            split, data, test, SMOKE, out, seed=seed, supervised_only=supervised_only, device="cpu"
        )
    return root


def test_it_prints_and_writes_the_accuracies_of_the_runs(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(runs)]) == 0
    printed = capsys.readouterr().out
    accuracies = [RunRecord.load(runs / f"fixmatch-seed{k}").accuracy for k in (0, 1)]
    assert None not in accuracies
    mean = 100 * sum(a for a in accuracies if a is not None) / 2
    assert "digits, 20 labels, 20 steps" in printed
    assert f"{mean:.1f} ±" in printed
    assert "(n<3)" in printed
    record = json.loads(Path("compare/compare.json").read_text())
    assert [row["n"] for row in record["rows"]] == [2, 1]
    assert [run["accuracy"] for run in record["rows"][0]["runs"].values()] == accuracies
    assert Image.open("compare/curves.png").format == "PNG"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["missing"], "missing is no run and holds none"),
        (["{runs}", "--out", "{runs}"], "already exists; pass --force"),
        (["{runs}", "--out", "{runs}/fixmatch-seed0/config.json/x"], "cannot write to"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    runs: Path,
    args: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *(arg.format(runs=runs) for arg in args)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_unequal_budgets_are_refused_with_both_counts(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, test = load_dataset("digits"), load_dataset("digits", "test")
    split = make_split(data, Random(), batch_size=30, seed=7)
    train(split, data, test, SMOKE, tmp_path / "thirty", seed=7, device="cpu")
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(runs), "thirty"]) == 2
    assert "unequal budgets, 20 and 30 labels" in capsys.readouterr().err
    assert not Path("compare").exists()


def test_a_second_comparison_in_one_folder_is_given_the_command_that_replaces_it(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(runs), "--out", "my table"]) == 0
    before = Path("my table/compare.json").read_bytes()
    capsys.readouterr()
    assert main(["compare", str(runs), "--out", "my table"]) == 2
    said = capsys.readouterr().err
    assert "error: my table holds a comparison already; replace it with `" in said
    command = shlex.split(said.split("`")[1])
    Path("my table/compare.json").write_text("{}")
    assert command[0] == "fmsel" and main(command[1:]) == 0
    assert Path("my table/compare.json").read_bytes() == before


def test_an_unfinished_run_among_others_is_a_note(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(runs, "runs")
    Path("runs/fixmatch-seed1/summary.json").unlink()
    assert main(["compare", "runs"]) == 0
    assert "note: left out runs/fixmatch-seed1: not finished;" in capsys.readouterr().err
    record = json.loads(Path("compare/compare.json").read_text())
    assert [row["n"] for row in record["rows"]] == [1, 1]
