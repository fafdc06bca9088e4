"""The commands on a report's page make the very same split, run and loop again."""

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from made_scores import record_of
from split_project import write_scores
from test_cli_loop import write_embeddings

from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.fixmatch.presets import CPU_TINY, SMOKE
from fmsel.metrics.scores import MetricRecord, Scores
from fmsel.metrics.scores.published import FOLDER
from fmsel.report.story.again import loop_again, run_again, split_again
from fmsel.report.story.again_inputs import embeddings_again, scores_again
from fmsel.report.story.origins import _of_scores
from fmsel.selection.split import Split

HELD = "splits/held.json"
QUICK = ["--preset", "smoke", "--steps", "4", "--device", "cpu", "--precision", "fp32"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scores, embeddings, a small split, and lists to heed."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("project")
        patch.chdir(home)
        write_scores(load_dataset("digits"))
        write_embeddings("embeddings/digits-pixels.npy")
        assert main(["split", "--random", "8", "--dataset", "digits", "--out", HELD]) == 0
        Path("groups.csv").write_text(
            "index,group\n" + "".join(f"{index},{index // 3}\n" for index in range(900))
        )
        np.savetxt("list.txt", [5, 3, 900, 11], fmt="%d")
    return home


@pytest.mark.parametrize(
    "words",
    [
        ["--random", "12", "--seed", "7"],
        ["--random", "--per-class", "2", "--seed", "3"],
        ["--protos", "1", "--outliers", "3", "--outlier-band", "7.5-60"],
        ["--protos", "2", "--metric", "reverse"],
        ["--outliers", "1", "--metric", "reverse", "--metric", "self-confidence"],
        ["--strategy", "percentile_band", "--budget", "10"],
        ["--strategy", "typiclust", "--budget", "9", "--seed", "2"],
        ["--strategy", "probcover", "--budget", "9", "--set", "delta=0.0375"],
        ["--strategy", "maxherding", "--per-class", "1", "--set", "sigma=0.3"],
        ["--protos", "2", "--outliers", "1", "--clusters", "4"],
        ["--strategy", "maxherding", "--budget", "5", "--labeled", HELD],
        ["--strategy", "random", "--budget", "6", "--exclude", HELD],
        ["--strategy", "random", "--budget", "6", "--groups", "groups.csv"],
        ["--strategy", "k_center", "--budget", "6", "--near-duplicates", "0.97"],
    ],
    ids=" ".join,
)
def test_a_split_is_made_again(
    words: list[str], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    assert main(["split", "--dataset", "digits", *words, "--out", str(first)]) == 0
    made = Split.load(first)
    again = split_again(made, str(second))
    assert again.needs == ()
    program, *rest = shlex.split(again.line)
    assert program == "fmsel" and main(rest) == 0
    assert json.loads(second.read_text()) == json.loads(first.read_text())


def test_an_imported_split_is_made_again(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    assert main(["split", "import", "list.txt", "--dataset", "digits", "--out", str(first)]) == 0
    again = split_again(Split.load(first), str(second))
    assert main(shlex.split(again.line)[1:]) == 0
    assert Split.load(second).indices == [5, 3, 900, 11]
    assert "sha256" in again.needs[0]


def test_what_no_command_brings_back_is_said(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    held = Split.load(Path(HELD))
    people = Split(**{**vars(held), "labels": [1] * len(held)})
    assert "People gave its labels" in split_again(people, "out.json").needs[0]
    foreign = Split(**{**vars(held), "strategy": "crystal_ball"})
    again = split_again(foreign, "out.json")
    assert again.line == "" and "crystal_ball is no strategy" in again.needs[0]
    excluded = {**held.provenance, "excluded": {"images": 3, "sha256": "0"}}
    python = Split(**{**vars(held), "provenance": excluded})
    assert "excluded, whose files it does not name" in split_again(python, "o.json").needs[0]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--supervised-only", "--seed", "5"],
        ["--soft", "--rule", "softmatch", "--decay-all", "--no-ema-ramp", "--keep-history"],
        ["--optimizer", "adam", "--warmup", "2", "--prior", "uniform", "--rule", "adamatch"],
    ],
    ids=" ".join,
)
def test_a_run_is_configured_again(
    words: list[str], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["train", "--split", HELD, *QUICK, *words, "--out", str(first)]) == 0
    config = json.loads((first / "config.json").read_text())
    again = run_again(config, HELD, str(second))
    assert main(shlex.split(again.line)[1:]) == 0
    assert json.loads((second / "config.json").read_text()) == config


def test_settings_that_did_nothing_are_left_out_of_a_run_made_again() -> None:
    config = {
        "seed": 0,
        "mode": "supervised",
        "device": "cpu",
        "precision": "fp32",
        "dataset": {"image_side": 8},
        "fixmatch": dataclasses.replace(CPU_TINY, mu=SMOKE.mu, eval_every=5).as_dict(),
    }
    plain = run_again(config, HELD, "out")
    assert plain.needs == ()
    assert "--preset smoke --arch small-conv-32 --steps 400 --batch 32 --device" in plain.line
    idle = dataclasses.replace(SMOKE, mu=9, lr_min=0.01, weight_decay=0.1)
    again = run_again({**config, "fixmatch": idle.as_dict()}, HELD, "out")
    assert "--preset smoke --weight-decay 0.1 --device" in again.line
    assert again.needs == (
        "mu=9, lr_min=0.01 did nothing in this run and is no longer accepted, so it is left out.",
    )


@pytest.mark.parametrize(
    "heeded",
    [[], ["--near-duplicates", "0.97", "--exclude", HELD, "--groups", "groups.csv"]],
    ids=" ".join,
)
def test_a_loop_is_made_again(
    heeded: list[str], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command goes on with a loop: it finds its own and trains nothing."""
    monkeypatch.chdir(project)
    out = tmp_path / "loop"
    words = ["--strategy", "margin", "--strategy", "probcover", "--set", "probcover.delta=0.02"]
    embeddings = ["--embeddings", "embeddings/digits-pixels.npy"]
    quick = [*QUICK, "--budgets", "6,9", "--seeds", "1", "--warm-start"]
    assert main(["loop", "digits", *words, *quick, *embeddings, *heeded, "--out", str(out)]) == 0
    before = (out / "loop.json").read_text()
    side = load_dataset("digits").images.shape[1]
    again = loop_again(json.loads(before), side, str(out))
    assert again.needs == ()
    assert main([*shlex.split(again.line)[1:], "--resume"]) == 0
    assert (out / "loop.json").read_text() == before


def test_scores_are_made_again_a_line_for_each_seed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    line = scores_again(Scores.load(Path("scores/digits.npz")), "scores/digits.npz").line
    assert line == (
        "fmsel score digits --metric self-confidence --metric epoch-confidence --metric reverse "
        "--seed 0 --out scores/digits.npz"
    )


def test_scores_by_embeddings_name_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert main(["embed", "digits", "--encoder", "gabor"]) == 0
    words = ["--metric", "knn-density", "--embeddings", "embeddings/digits-gabor.npy"]
    assert main(["score", "digits", *words, "--out", "first.npz"]) == 0
    again = scores_again(Scores.load(Path("first.npz")), "second.npz")
    assert "embeddings/digits-gabor.npy must hold the embeddings by gabor" in again.needs[0]
    assert main(shlex.split(again.line)[1:]) == 0
    first, second = (Scores.load(Path(name)) for name in ("first.npz", "second.npz"))
    assert first.records["knn-density"].sha256 == second.records["knn-density"].sha256


def test_published_rankings_are_taken_again_and_not_computed() -> None:
    with np.load(FOLDER / "cifar10.npz") as file:
        header, ranks = json.loads(str(file["header"])), file["ranks"]
    names = list(header["records"])
    records = {name: MetricRecord(**header["records"][name]) for name in names}
    records["own"] = records[names[0]]
    arrays = dict(zip(names, ranks.astype(np.float32), strict=True))
    arrays["own"] = arrays[names[0]] / 3
    source = {"dataset": "cifar10"}
    scores = Scores(dataset=header["dataset"] | {"source": source}, arrays=arrays, records=records)
    seed = records["own"].seed
    assert scores_again(scores, "scores/cifar10.npz").line.splitlines() == [
        "fmsel score cifar10 --published --out scores/cifar10.npz",
        f"fmsel score cifar10 --metric own --seed {seed} --out scores/cifar10.npz",
    ]


def test_scores_made_with_several_versions_name_those_of_each_metric() -> None:
    array = np.zeros(3, np.float32)
    records = {
        name: record_of(array, made_with={"torch": torch})
        for name, torch in (("conf", "2.14"), ("agr", "2.14"), ("adv", "2.15"))
    }
    scores = Scores(dataset={}, arrays=dict.fromkeys(records, array), records=records)
    assert list(_of_scores(Path("s.npz"), scores)) == [
        ("scores s.npz (conf, agr)", {"torch": "2.14"}),
        ("scores s.npz (adv)", {"torch": "2.15"}),
    ]
    same = {name: record_of(array, made_with={"torch": "2.15"}) for name in records}
    alike = dataclasses.replace(scores, records=same)
    assert list(_of_scores(Path("s.npz"), alike)) == [("scores s.npz", {"torch": "2.15"})]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--encoder", "gabor", "--pca", "5", "--normalise", "--seed", "4"],
        ["--from", "own.npy"],
        ["--from", "gabor.npy"],  # called like an encoder
    ],
    ids=" ".join,
)
def test_embeddings_are_made_again(
    words: list[str], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    vectors = np.random.default_rng(0).normal(size=(len(load_dataset("digits")), 3))
    for name in ("own.npy", "gabor.npy"):
        np.save(name, vectors)
    first, second = tmp_path / "first.npy", tmp_path / "second.npy"
    assert main(["embed", "digits", *words, "--out", str(first)]) == 0
    again = embeddings_again(Embeddings.load(first), str(second))
    assert main(shlex.split(again.line)[1:]) == 0
    assert Embeddings.load(second).sha256 == Embeddings.load(first).sha256
    assert bool(again.needs) == ("--from" in words)
