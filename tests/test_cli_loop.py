"""`fmsel loop` as it is typed: what it writes, waits for, and refuses in one sentence."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from split_project import write_scores

from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.selection.split import Split

QUICK = ["--preset", "smoke", "--steps", "5", "--device", "cpu", "--precision", "fp32"]
BASE = ["digits", "--budgets", "10,20", "--seeds", "1", *QUICK]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, wide enough a terminal for one-line sentences."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


def write_embeddings(path: str = "pixels.npy") -> None:
    data = load_dataset("digits")
    pixels = data.images[..., 0].reshape(len(data), -1).astype(np.float32)
    made = Embeddings(
        dataset=data.describe(),
        features=pixels,
        encoder="pixels",
        parameters={},
        seed=0,
        uses_labels=False,
    )
    made.save(Path(path))


def loop(*words: str) -> None:
    assert main(["loop", *words]) == 0


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence that bad input is answered with; nothing is written."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert main(["loop", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return captured.err


def test_a_loop_prints_its_tables_and_the_same_command_trains_nothing_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_embeddings()
    words = ["--strategy", "facility-location", "--strategy", "margin", "--strategy", "random"]
    words += [*BASE, "--embeddings", "pixels.npy"]
    loop(*words)
    said = capsys.readouterr().out
    assert "margin, seed 0, round 1: 20 labels, accuracy" in said
    assert "digits, FixMatch, small-conv-8, 5 steps, 1 seed" in said
    assert "wrote loops/digits/loop.csv, loops/digits/results.json, loops/digits/curve.png" in said
    folder = Path("loops/digits")
    rounds = sorted(each.relative_to(folder).as_posix() for each in folder.glob("tracks/*/round-*"))
    assert rounds == [
        "tracks/facility_location-seed0/round-0",
        "tracks/facility_location-seed0/round-1",
        "tracks/margin-seed0/round-1",
        "tracks/random-seed0/round-0",
        "tracks/random-seed0/round-1",
    ]
    record = json.loads((folder / "loop.json").read_text())
    assert record["schema_version"] == 1 and record["budgets"] == [10, 20]
    assert record["start"]["random"]["label_use"] == "none"
    assert record["embeddings"]["embeddings"]["encoder"] == "pixels"
    before = (folder / "results.json").read_bytes()
    monkeypatch.setattr("fmsel.experiments.loop.run.train_jobs", None)
    for more in ([], ["--resume"]):
        loop(*words, *more)
        again = capsys.readouterr().out
        assert "round 1:" not in again and "wins–losses–ties" in again
    assert (folder / "results.json").read_bytes() == before


def test_settings_scores_and_start_are_passed_on() -> None:
    write_embeddings()
    write_scores(load_dataset("digits"))
    settings = ["--set", "probcover.delta=0.5", "--set", "probcover.purity=0.9"]
    loop(
        *("--strategy", "margin", "--strategy", "mixed", "--start", "probcover", *settings, *BASE),
        *("--embeddings", "pixels.npy", "--supervised-only", "--warm-start", "--out", "loop"),
    )
    first = Split.load(Path("loop/tracks/probcover-seed0/round-0/split.json"))
    assert first.parameters["delta"] == 0.5 and first.parameters["purity"] == 0.9
    second = Split.load(Path("loop/tracks/margin-seed0/round-1/split.json"))
    assert second.indices[:10] == first.indices
    config = json.loads(Path("loop/tracks/margin-seed0/round-1/run/config.json").read_text())
    assert config["mode"] == "supervised" and config["init"]["run"] == "run"
    record = json.loads(Path("loop/loop.json").read_text())
    assert set(record["scores"]["arrays"]) == {"self-confidence", "epoch-confidence"}
    assert list(record["start"]) == ["probcover"]


def test_the_only_embeddings_of_these_images_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    Path("embeddings").mkdir()
    write_embeddings("embeddings/digits-pixels.npy")
    words = ["--strategy", "k-center", *BASE, "--labels", "answers", "--out", "loop"]
    loop(*words)
    record = json.loads(Path("loop/loop.json").read_text())
    assert record["embeddings"]["embeddings"]["encoder"] == "pixels"
    loop(*words, "--embeddings", "embeddings/digits-pixels.npy")
    write_embeddings("embeddings/digits-other.npy")
    assert "holds several embeddings of digits" in refusal(capsys, *words)
    loop(*words[2:], "--strategy", "margin", "--out", "none")  # reads none, and searches for none
    assert json.loads(Path("none/loop.json").read_text())["embeddings"] is None


def test_people_answer_and_the_same_command_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """The first round has an image that nobody knows; the labels are 9 and then 20."""
    words = ["--strategy", "margin", *BASE, "--labels", "answers", "--out", "loop"]
    truth = load_dataset("digits").labels
    Path("answers").mkdir()
    unsure = ""
    for number, folder in enumerate(("random-seed0/round-0", "margin-seed0/round-1")):
        table = Path("loop/tracks", folder, f"to-label-{folder.replace('/', '-')}.csv")
        loop(*words)
        out = capsys.readouterr().out.splitlines()
        assert out[-1] == (
            f"waiting for the labels of {10 + number} images: write a class, or skip, into the "
            f"column label of {table}, save, and give the same command to go on (or label them on "
            f"a page, `fmsel label {table.with_name('asked.json')}`, or the tasks beside, of the "
            "same name in .json, with Label Studio and put its export into answers/)"
        )
        if number:
            assert f"random, seed 0, round 0: 9 of 10 labelled, 1 skipped ({unsure})" in out
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row["label"] = str(truth[int(row["index"])])
        if not number:
            unsure, rows[0]["label"] = rows[0]["id"], "unsure"
        place = Path("answers", table.name) if number else table  # there, or where it lies
        with place.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    loop(*words)
    assert "Some rounds have fewer labels than their budget" in capsys.readouterr().out
    lines = Path("loop/loop.csv").read_text().splitlines()
    assert [line.split(",")[4:7] for line in lines[1:]] == [["0", "10", "9"], ["1", "20", "20"]]


def test_answers_that_nobody_asked_for_are_refused_at_every_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--strategy", "random", *BASE, "--labels", "all.csv", "--out", "loop"]
    truth = load_dataset("digits").labels
    rows = "".join(f"{index},{label}\n" for index, label in enumerate(truth))
    Path("all.csv").write_text("index,label\n" + rows)
    assert "line 2: image 0 is not among" in refusal(capsys, *words)
    Path("all.csv").unlink()
    loop(*words)
    Path("all.csv").write_text("index,label\n" + rows)
    assert "line 2: image 0 is not among" in refusal(capsys, *words)
    Path("all.csv").write_text("index,label\n0,cat\n")
    assert "all.csv, line 2" in refusal(capsys, *words)


def test_another_configuration_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--strategy", "random", *BASE, "--labels", "answers"]
    loop(*words)
    said = refusal(capsys, *words, "--budgets", "10,30")
    assert "its budgets were 10, 20, now they are 10, 30;" in said
    loop(*words[:-1], "elsewhere", "--resume")  # where the answers lie may change


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strategy", "random", "--budgets", "20,10"], "--budgets are numbers of labels, 2 or"),
        (["--strategy", "random", "--budgets", "10,2000"], "go up to 2000 labels, but digits has"),
        (["--strategy", "random", "--budgets", "ten"], "such as 10,20,40, got 'ten'"),
        (["--strategy", "random", "--budgets", "10,,20"], "such as 10,20,40, got '10,,20'"),
        (["--strategy", "nearest"], "there is no selection strategy 'nearest'; there are"),
        (["--strategy", "random", "--start", "nearest"], "no selection strategy 'nearest'"),
        (["--strategy", "margin", "--start", "badge"], "--start badge needs a trained run itself"),
        (["--strategy", "margin", "--strategy", "margin"], "--strategy margin is given twice"),
        (
            ["--strategy", "random-stratified", "--strategy", "random_stratified"],
            "--strategy random_stratified is given twice",
        ),
        (["--strategy", "probcover"], "there are no embeddings of digits in embeddings/; make"),
        (
            ["--strategy", "margin", "--start", "probcover"],
            "there are no embeddings of digits in embeddings/",
        ),
        (["--strategy", "mixed"], "there are no scores in scores/"),
        (["--strategy", "random", "--seeds", "0"], "--seeds must be 1 or more, got 0"),
        (["--strategy", "random", "--preset", "huge"], "unknown preset 'huge'"),
        (["--strategy", "random", "--set", "delta=1"], "--set takes STRATEGY.KEY=VALUE with one"),
        (["--strategy", "random", "--set", "margin.a=1"], "with one of random, got 'margin.a=1'"),
        (["--strategy", "random", "--set", "random.a=1"], "random has no parameter 'a'"),
        (["--strategy", "random", "--embeddings", "no.npy"], "no.npy is no embeddings file"),
        (["--strategy", "random", "--labels", "answers.txt"], "must end in .csv, a table, in"),
        (["--strategy", "random", "--resume"], "there is no loop to resume in loops/digits"),
        (
            ["--strategy", "random_stratified", "--budgets", "10,1436"],
            "round 1, 1436 labels in all: class '0' has",
        ),
    ],
)
def test_bad_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in refusal(
        capsys, "digits", "--budgets", "10,20", "--seeds", "1", *QUICK, *words
    )
