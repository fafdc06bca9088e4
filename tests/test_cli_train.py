"""`fmsel train` through the command line."""

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest

from fmsel.artefacts import read_json
from fmsel.cli.app import main
from fmsel.cli.train import train as command
from fmsel.datasets import load_dataset
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run import RunRecord
from fmsel.fixmatch.use import load_trained
from fmsel.selection.split import Split

SMOKE = ["--preset", "smoke", "--steps", "4", "--eval-every", "2", "--device", "cpu"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with splits/four.json: four digits a class."""
    monkeypatch.chdir(tmp_path)
    data = load_dataset("digits")
    indices = np.concatenate([np.flatnonzero(data.labels == c)[:4] for c in range(10)]).tolist()
    Split(
        dataset=data.name,
        source=data.source.as_dict(),
        n=len(data),
        images_sha256=data.images_sha256,
        labels_sha256=data.labels_sha256,
        strategy="imported",
        parameters={},
        seed=0,
        indices=indices,
        label_use="none",
        class_counts={},
    ).save(tmp_path / "splits" / "four.json")
    return tmp_path


def test_every_field_of_the_recipe_is_an_option() -> None:
    fields = {field.name for field in dataclasses.fields(FixMatchConfig)}
    assert fields <= inspect.signature(command).parameters.keys()


def test_train_writes_a_run_and_says_its_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--split", "splits/four.json", *SMOKE, "--lr", "0.01", "--no-ema-ramp"]
    assert main(words) == 0
    out = capsys.readouterr().out
    record = RunRecord.load(Path("runs/four-seed0"))
    assert f"accuracy {record.accuracy:.2%} (last EMA evaluation)" in out
    assert "FixMatch, 40 labels of four, seed 0, small-conv-8, 4 steps" in out
    assert "wrote runs/four-seed0" in out
    assert (record.config.lr, record.config.ema_ramp, record.config.mu) == (0.01, False, 2)
    assert record.split["name"] == "four"


def test_supervised_replicates_have_folders_and_seeds_of_their_own() -> None:
    words = ["train", "--split", "splits/four.json", *SMOKE, "--supervised-only", "--seeds", "2"]
    assert main([*words, "--seed", "7"]) == 0
    folders = [Path(f"runs/four-supervised-seed{seed}") for seed in (7, 8)]
    records = [RunRecord.load(folder) for folder in folders]
    assert [(record.mode, record.seed) for record in records] == [
        ("supervised", 7),
        ("supervised", 8),
    ]


def test_a_run_keeps_its_history_and_starts_another(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--split", "splits/four.json", *SMOKE]
    assert main([*words, "--out", "first", "--keep-history"]) == 0
    kept = load_trained(Path("first")).history
    assert kept is not None and kept.shape == (2, 1438)
    again = [*words, "--seeds", "2", "--out", "warm", "--init", "first"]
    assert main(again) == 0
    for seed in (0, 1):
        init = read_json(Path(f"warm/four-seed{seed}/config.json"), "run configuration")["init"]
        assert (init["run"], init["step"]) == ("first", 4)
    assert load_trained(Path("warm/four-seed0")).history is None
    capsys.readouterr()
    assert main(again) == 0  # the same start: finished already
    assert "kept warm/four-seed1, which is finished" in capsys.readouterr().out
    assert main([*again[:-2], "--resume"]) == 2
    said = capsys.readouterr().err
    assert "warm/four-seed0: its run to start from was first, now it is None" in said
    assert main([*words, "--init", "first", "--arch", "small-conv-4"]) == 2
    assert "cannot start from first: its arch is small-conv-8" in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--split", "none.json"], "none.json cannot be read as a split"),
        (["--split", "splits/four.json", "--preset", "huge"], "unknown preset 'huge'"),
        (["--split", "splits/four.json", "--threshold", "1.5"], "threshold=1.5 must be a prob"),
        (["--split", "splits/four.json", "--rule", "magic"], "unknown rule 'magic'"),
        (["--split", "splits/four.json", "--seeds", "0"], "seeds=0 must be at least 1"),
        (["--split", "splits/four.json", "--seed", "-1"], "seed=-1 at least 0"),
        (["--split", "splits/four.json", "--precision", "fp8"], "precision 'fp8' must be one of"),
        (["--split", "splits/four.json", "--device", "magic"], "device 'magic' is not usable"),
        (["--split", "splits/four.json", "--device", "meta"], "device 'meta' is not usable"),
        (["--split", "splits/four.json", "--init", "gone"], "gone is not a run folder"),
        (["--split", "splits/four.json", "--resume"], "there is no run to resume in runs/four"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert main(["train", *words]) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert "Traceback" not in errors
    assert not (home / "runs").exists()


def test_existing_run_is_refused_before_any_replicate_starts(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    (home / "runs" / "four-seed1").mkdir(parents=True)
    words = ["train", "--split", "splits/four.json", *SMOKE, "--seeds", "2"]
    assert main(words) == 2
    assert "runs/four-seed1 already exists" in capsys.readouterr().err
    assert not (home / "runs" / "four-seed0").exists()


def test_more_replicates_join_a_finished_one(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    words = ["train", "--split", "splits/four.json", *SMOKE]
    assert main(words) == 0
    first = home / "runs" / "four-seed0" / "summary.json"
    before = first.read_text()
    capsys.readouterr()
    assert main([*words, "--seeds", "3"]) == 0
    said = capsys.readouterr().out
    assert "kept runs/four-seed0, which is finished" in said
    assert [f"wrote runs/four-seed{k}" in said for k in range(3)] == [False, True, True]
    assert first.read_text() == before
    assert [RunRecord.load(Path(f"runs/four-seed{k}")).seed for k in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("other", ["recipe", "stopped"])
def test_replicates_do_not_join_another_or_an_unfinished_run(
    other: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    words = ["train", "--split", "splits/four.json", *SMOKE]
    assert main(words) == 0
    if other == "stopped":
        (home / "runs" / "four-seed0" / "summary.json").unlink()
    changed = ["--lr", "0.01"] if other == "recipe" else []
    assert main([*words, *changed, "--seeds", "2"]) == 2
    assert "runs/four-seed0 already exists; pass --resume" in capsys.readouterr().err
    assert not (home / "runs" / "four-seed1").exists()
    code = 2 if changed else 0
    assert main([*words, *changed, "--seeds", "2", "--resume"]) == code
    assert (home / "runs" / "four-seed1").exists() == (not changed)


def test_force_trains_finished_replicates_again(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--split", "splits/four.json", *SMOKE, "--seeds", "2"]
    assert main(words) == 0
    assert main([*words, "--force"]) == 0
    said = capsys.readouterr().out
    assert "kept" not in said
    assert said.count("wrote runs/four-seed0") == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--sgdr-cycle 2", "--sgdr-cycle does nothing with --schedule fixmatch; leave it out, or"),
        ("--schedule plateau --sgdr-growth 2", "--sgdr-growth does nothing with --schedule plat"),
        ("--schedule sgdr --sgdr-growth 2", "leave it out, or give a shorter --sgdr-cycle"),
        ("--schedule sgdr --sgdr-growth 2 --sgdr-cycle 20", "or give a shorter --sgdr-cycle"),
        ("--schedule constant --lr-min 0.001", "or use --schedule sgdr or plateau"),
        ("--plateau-factor 0.5", "--plateau-factor does nothing with --schedule fixmatch"),
        ("--schedule sgdr --plateau-patience 1", "or use --schedule plateau"),
        ("--optimizer adam --momentum 0.9", "--momentum does nothing with --optimizer adam"),
        ("--weight-decay 0 --decay-all", "--decay-all does nothing with --weight-decay 0; leave"),
        ("--ema-decay 0 --ema-ramp", "--ema-ramp does nothing with --ema-decay 0; leave it out"),
        ("--temperature 1", "--temperature does nothing without --soft; leave it out, or add"),
        ("--rule freematch --threshold 0.9", "--threshold does nothing with --rule freematch"),
        ("--rule softmatch --threshold 0.9", "--threshold does nothing with --rule softmatch"),
        ("--preset fast --threshold 0.9", "--threshold does nothing with --rule freematch"),
        *(
            (f"--supervised-only {each}", f"{each.split()[0]} does nothing with --supervised-only")
            for each in (
                "--mu 2", "--augment paper", "--rule fixed", "--threshold 0.9", "--soft", "--hard",
                "--temperature 1", "--prior uniform", "--lambda-u 1", "--no-weak-gradient",
                "--interleave",
            )
        ),
    ],
)  # fmt: skip
def test_an_option_that_does_nothing_is_refused(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert main(["train", "--split", "splits/four.json", *SMOKE, *words.split()]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (home / "runs").exists()


@pytest.mark.parametrize(
    "words",
    [
        "--schedule sgdr --sgdr-cycle 2 --sgdr-growth 2 --lr-min 0.001",
        "--schedule plateau --plateau-factor 0.5 --plateau-patience 0 --lr-min 0.001",
        "--rule flexmatch --threshold 0.9 --momentum 0.8",
        "--soft --temperature 1 --decay-all --ema-ramp --ema-decay 0.9",
        "--preset fast --supervised-only --arch small-conv-4 --batch 16",
        "--preset fast --rule fixed --threshold 0.9 --mu 1 --arch small-conv-4 --batch 16",
    ],
)
def test_presets_and_options_that_do_something_are_taken_and_resumed(words: str) -> None:
    given = ["train", "--split", "splits/four.json", *SMOKE, *words.split()]
    assert main(given) == 0
    assert main([*given, "--resume"]) == 0


def test_a_run_begun_with_an_option_that_does_nothing_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As an older fmsel took them."""
    words = ["train", "--split", "splits/four.json", *SMOKE, "--lr-min", "0.001"]
    with monkeypatch.context() as patch:
        patch.setattr("fmsel.fixmatch.idle.refuse_idle", lambda *_: None)
        assert main(words) == 0
    assert main([*words, "--resume"]) == 0
