"""`fmsel split --strategy …`: every strategy, labels held, groups and lists, as they are typed."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from fmsel.cli.app import main
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.selection.maxherding import Maxherding
from fmsel.selection.pool import Pool
from fmsel.selection.split import Split


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


def embed(data: ImageDataset, path: str = "embeddings/digits-pixels.npy", **known: bool) -> None:
    """The pixels themselves as an embedding."""
    made = Embeddings(
        dataset=data.describe(),
        features=data.images[:, :, :, 0].reshape(len(data), -1).astype(np.float32),
        encoder="pixels",
        parameters={},
        seed=0,
        uses_labels=known.get("uses_labels", False),
    )
    made.save(Path(path))


def fmsel(*words: str) -> None:
    assert main(["split", *words]) == 0


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["split", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def read(name: str) -> Split:
    return Split.load(Path("splits") / name)


def test_a_strategy_on_embeddings_is_that_of_python(digits: ImageDataset) -> None:
    embed(digits)
    fmsel("--strategy", "maxherding", "--budget", "20", "--set", "sigma=0.7")
    split = read("maxherding.json")
    pixels = digits.images[:, :, :, 0].reshape(len(digits), -1).astype(np.float32)
    pool = Pool(n=len(digits), class_names=digits.class_names, features=pixels)
    assert split.indices == Maxherding(0.7).query(pool, batch_size=20).tolist()
    assert not split.oracle and split.parameters == {"sigma": 0.7}
    assert split.provenance["embeddings"]["encoder"] == "pixels"


def test_per_class_runs_a_strategy_within_each_class(digits: ImageDataset) -> None:
    embed(digits)
    fmsel("--strategy", "maxherding", "--per-class", "2")
    split = read("maxherding_within_classes.json")
    assert set(split.class_counts.values()) == {2}
    assert split.label_use == "stratified"
    fmsel("--strategy", "random", "--per-class", "2", "--dataset", "digits")
    assert read("random_stratified.json").strategy == "random_stratified"


def test_labels_held_come_first_and_are_not_chosen_again(digits: ImageDataset) -> None:
    embed(digits)
    fmsel("--strategy", "maxherding", "--budget", "8", "--out", "first.json")
    fmsel("--strategy", "maxherding", "--budget", "12", "--labeled", "first.json")
    fmsel("--strategy", "maxherding", "--budget", "20", "--out", "whole.json")
    first, both = Split.load(Path("first.json")), read("maxherding.json")
    assert both.indices[:8] == first.indices
    assert both.provenance["labeled"]["sha256"] == first.sha256
    assert both.indices == Split.load(Path("whole.json")).indices  # greedy: rounds change nothing


def test_a_choice_that_goes_on_from_an_oracle_is_one(digits: ImageDataset) -> None:
    embed(digits)
    fmsel("--random", "--per-class", "1", "--dataset", "digits")
    fmsel("--strategy", "maxherding", "--budget", "5", "--labeled", "splits/random_stratified.json")
    assert read("maxherding.json").label_use == "stratified"


def test_embeddings_that_learned_from_labels_make_an_oracle(digits: ImageDataset) -> None:
    embed(digits, uses_labels=True)
    fmsel("--strategy", "maxherding", "--budget", "5")
    assert read("maxherding.json").label_use == "training"


def test_excluded_images_are_left_out(digits: ImageDataset) -> None:
    embed(digits)
    fmsel("--strategy", "maxherding", "--budget", "8", "--out", "first.json")
    fmsel("--strategy", "maxherding", "--budget", "8", "--exclude", "first.json")
    split = read("maxherding.json")
    assert not set(split.indices) & set(Split.load(Path("first.json")).indices)
    assert split.provenance["excluded"]["images"] == 8


def test_one_image_of_each_group(digits: ImageDataset) -> None:
    lines = [f"{index},{index % 30}\n" for index in range(len(digits))]
    Path("g.csv").write_text("index,group\n" + "".join(lines))
    fmsel("--random", "30", "--dataset", "digits", "--groups", "g.csv")
    split = read("random.json")
    assert len({index % 30 for index in split.indices}) == 30
    assert split.provenance["groups"]["number"] == 30


def test_near_duplicates_are_kept_apart(digits: ImageDataset) -> None:
    embed(digits)
    fmsel("--random", "200", "--dataset", "digits", "--out", "free.json")
    fmsel("--random", "200", "--dataset", "digits", "--near-duplicates", "0.95")
    pixels = digits.images[:, :, :, 0].reshape(len(digits), -1).astype("f8")

    def pairs(split: Split) -> int:
        chosen = pixels[split.index_array]
        return int((cosine_similarity(chosen) >= 0.95).sum() - len(chosen)) // 2

    assert pairs(Split.load(Path("free.json"))) > 0
    assert pairs(read("random.json")) == 0


def test_prototypes_and_outliers_of_clusters_read_no_labels(digits: ImageDataset) -> None:
    embed(digits)
    fmsel("--protos", "2", "--outliers", "1", "--clusters", "7")
    split = read("density_mix.json")
    assert len(split) == 21 and not split.oracle
    assert split.parameters["clusters"] == 7 and split.parameters["ratio"] == 2 / 3


def test_per_class_means_a_class_also_where_a_strategy_has_clusters(digits: ImageDataset) -> None:
    embed(digits)
    fmsel("--strategy", "density_mix", "--clusters", "3", "--per-class", "2")
    assert set(read("density_mix_within_classes.json").class_counts.values()) == {2}


def test_groups_made_of_embeddings_that_know_labels_make_an_oracle(digits: ImageDataset) -> None:
    embed(digits, uses_labels=True)
    words = ("--random", "5", "--dataset", "digits", "--near-duplicates", "0.99")
    fmsel(*words)
    split = read("random.json")
    assert split.label_use == "training"
    assert split.provenance["near_duplicates"]["cosine"] == 0.99


def test_other_exclusions_are_other_provenance(digits: ImageDataset) -> None:
    made = []
    for images in ("5\n6\n", "700\n800\n"):
        Path("e.txt").write_text(images)
        fmsel("--random", "5", "--dataset", "digits", "--exclude", "e.txt", "--force")
        made.append(read("random.json").provenance["excluded"])
    assert made[0]["images"] == made[1]["images"] == 2
    assert made[0]["sha256"] != made[1]["sha256"]


def test_a_foreign_json_among_the_embeddings_is_passed_over(digits: ImageDataset) -> None:
    embed(digits)
    Path("embeddings/notes.json").write_text('{"dataset": "digits"}')
    fmsel("--strategy", "maxherding", "--budget", "5", "--dataset", "digits")
    assert len(read("maxherding.json")) == 5


def test_strategies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    fmsel("strategies")
    out = capsys.readouterr().out
    assert "maxherding" in out and "--set sigma=1.0" in out and "oracle" in out


BAD = [
    (["--strategy", "best", "--budget", "4"], "there is no selection strategy 'best'; there are"),
    (["--strategy", "maxherding"], "--strategy takes either --budget N"),
    (["--strategy", "maxherding", "--budget", "4", "--per-class", "4"], "takes either --budget N"),
    (["--strategy", "maxherding", "--budget", "0"], "--budget must be 1 or more, got 0"),
    (["--strategy", "maxherding", "--budget", "1500"], "cannot choose 1500 of 1438 images"),
    (["--strategy", "maxherding", "--budget", "4", "--set", "sigma"], "--set takes KEY=VALUE"),
    (["--strategy", "maxherding", "--budget", "4", "--set", "sigma=x"], "sigma takes a number"),
    (["--strategy", "maxherding", "--budget", "4", "--set", "sigma=-1"], "sigma must be in 0.001"),
    (["--strategy", "rdss", "--budget", "4", "--set", "sigma=1e-200"], "sigma must be in 0.001"),
    (["--strategy", "maxherding", "--budget", "4", "--set", "width=1"], "has no parameter 'width'"),
    (["--strategy", "maxherding", "--budget", "4", "--clusters", "3"], "no parameter 'clusters'"),
    (["--strategy", "maxherding", "--budget", "4", "--protos", "2"], "does not go with --protos"),
    (["--strategy", "margin", "--budget", "4"], "margin needs the predictions of a trained run"),
    (["--random", "4", "--clusters", "2"], "cannot go with --clusters"),
    (
        ["--published", "fixmatch-9", "--dataset", "digits"],
        "no published set 'fixmatch-9'; there are",
    ),
    (["--published", "fixmatch-7", "--dataset", "digits"], "points into the train part of cifar10"),
    (["--random", "4", "--embeddings", "none.npy"], "none.json cannot be read as a description"),
    (["--random", "4", "--dataset", "digits", "--near-duplicates", "2"], "must be in 0..1"),
    (["--random", "4", "--dataset", "digits", "--groups", "none.csv"], "cannot be read as a .csv"),
    (
        ["--random", "4", "--dataset", "digits", "--labeled", "none.json"],
        "none.json cannot be read as a split",
    ),
    (
        ["--strategy", "maxherding", "--budget", "4", "--run", "runs/none"],
        "cannot be read as a run configuration",
    ),
]


@pytest.mark.parametrize(("words", "sentence"), BAD)
def test_bad_options_are_refused_and_nothing_is_written(
    words: list[str],
    sentence: str,
    digits: ImageDataset,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    embed(digits)
    assert sentence in refusal(capsys, *words)
    assert not (project / "splits").exists()


def test_missing_and_ambiguous_embeddings_are_refused(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--strategy", "maxherding", "--budget", "4", "--dataset", "digits")
    assert "there are no embeddings of digits" in refusal(capsys, *words)
    embed(digits)
    embed(digits, "embeddings/digits-other.npy")
    assert "several embeddings of digits" in refusal(capsys, *words)


def test_an_image_both_held_and_excluded_is_refused(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    fmsel("--random", "4", "--dataset", "digits", "--out", "a.json")
    words = ("--random", "4", "--dataset", "digits", "--labeled", "a.json", "--exclude", "a.json")
    assert "is labelled already and excluded too, as are 4" in refusal(capsys, *words)


def test_everything_labelled_leaves_nothing_to_choose(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    fmsel("--random", str(len(digits)), "--dataset", "digits", "--out", "all.json")
    answer = refusal(capsys, "--random", "1", "--labeled", "all.json")
    assert "cannot choose 1 of 0 images beside the 1438 that are labelled already" in answer
