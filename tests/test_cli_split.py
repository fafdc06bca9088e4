"""`fmsel split` as it is typed: what it writes, and one sentence and exit 2 for bad input."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from split_project import counts, fmsel, read, refusal, write_scores

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.selection.split import Split

pytest_plugins = ["split_project"]
pytestmark = pytest.mark.usefixtures("project")


@pytest.mark.parametrize("words", [["--random", "40"], ["--random=40"]])
def test_random_with_a_number_is_label_free(words: list[str]) -> None:
    fmsel(*words, "--dataset", "digits")
    split = read("random.json")
    assert (len(split), split.strategy, split.label_use) == (40, "random", "none")


@pytest.mark.parametrize(
    "words", [["--random", "--per-class", "4"], ["--per-class", "4", "--random"]]
)
def test_random_without_a_number_is_stratified(words: list[str]) -> None:
    fmsel(*words, "--dataset", "digits", "--seed", "5")
    split = read("random_stratified.json")
    assert (len(split), split.strategy, split.label_use) == (40, "random_stratified", "stratified")
    assert counts(split) == {4} and split.seed == 5


def test_random_takes_its_data_set_from_the_scores(digits: ImageDataset) -> None:
    write_scores(digits)
    fmsel("--random", "40")
    split = read("random.json")
    assert split.dataset == "digits" and split.provenance == {}


def test_prototypes_and_outliers_need_nothing_else_after_score(digits: ImageDataset) -> None:
    scores = write_scores(digits)
    fmsel("--protos", "12", "--outliers", "12")
    split = read("mixed.json")
    assert counts(split) == {24} and split.label_use == "formula"
    assert split.provenance["scores"] == "digits.npz"
    assert set(split.provenance["arrays"]) == {"self-confidence", "epoch-confidence"}
    ink = scores.arrays["self-confidence"]
    for label in range(10):
        own = np.flatnonzero(digits.labels == label)
        by_ink = own[np.argsort(ink[own])]
        chosen = {i for i in split.indices if digits.labels[i] == label}
        assert chosen == {*by_ink[:12].tolist(), *by_ink[-12:].tolist()}


@pytest.mark.parametrize(
    ("words", "name", "strategy"),
    [
        (["--protos", "3"], "prototypes.json", "prototypes"),
        (["--protos", "3", "--outliers", "0"], "prototypes.json", "prototypes"),
        (["--ratio", "1", "--per-class", "3"], "prototypes.json", "prototypes"),
        (["--outliers", "3"], "outliers.json", "outliers"),
        (["--ratio", "0", "--per-class", "3"], "outliers.json", "outliers"),
        (["--ratio", "0.75", "--per-class", "3"], "mixed.json", "mixed"),
    ],
)
def test_default_names_say_what_was_chosen(
    words: list[str], name: str, strategy: str, digits: ImageDataset
) -> None:
    write_scores(digits)
    fmsel(*words)
    assert read(name).strategy == strategy
    assert counts(read(name)) == {3}


def test_ratio_says_the_same_as_prototypes_and_outliers(digits: ImageDataset) -> None:
    write_scores(digits)
    fmsel("--ratio", "0.75", "--per-class", "24", "--out", "a.json")
    fmsel("--protos", "18", "--outliers", "6", "--out", "b.json")
    assert Split.load(Path("a.json")) == Split.load(Path("b.json"))


def test_one_a_class_shares_prototypes_and_outliers_between_classes(digits: ImageDataset) -> None:
    ink = write_scores(digits).arrays["self-confidence"]
    fmsel("--ratio", "0.5", "--per-class", "1")
    split = read("mixed.json")
    best = {max(np.flatnonzero(digits.labels == c), key=lambda i: ink[i]) for c in range(10)}
    worst = {min(np.flatnonzero(digits.labels == c), key=lambda i: ink[i]) for c in range(10)}
    assert counts(split) == {1}
    assert len(best & set(split.indices)) == len(worst & set(split.indices)) == 5


def test_metric_and_band_are_obeyed(digits: ImageDataset) -> None:
    write_scores(digits)
    fmsel("--protos", "5", "--metric", "reverse", "--out", "a.json")
    fmsel("--outliers", "5", "--out", "b.json")
    assert Split.load(Path("a.json")).indices == Split.load(Path("b.json")).indices
    fmsel("--outliers", "5", "--outlier-band", "5-20", "--out", "c.json")
    c = Split.load(Path("c.json"))
    assert not set(c.indices) & set(Split.load(Path("b.json")).indices)
    assert c.parameters["outlier_band"] == {"start": 5.0, "stop": 20.0}


def test_scores_may_be_named(digits: ImageDataset) -> None:
    write_scores(digits, "elsewhere/mine.npz")
    fmsel("--protos", "2", "--scores", "elsewhere/mine.npz")
    assert read("prototypes.json").provenance["scores"] == "mine.npz"


BAD_OPTIONS = [
    ([], "nothing to choose"),
    (["--protos", "0", "--outliers", "0"], "nothing to choose"),
    (["--protos", "-1", "--outliers", "2"], "--protos must be 0 or more, got -1"),
    (["--random"], "--random takes either N, labels in all, or --per-class N"),
    (["--random", "40", "--per-class", "4"], "--random takes either N"),
    (["--random", "-40"], "--random must be 1 or more, got -40"),
    (["--random", "0", "--per-class", "2"], "--random must be 1 or more, got 0"),
    (["--random", "40.5"], "--random takes a whole number of labels, such as 40, got '40.5'"),
    (["--random", "-4.5"], "--random takes a whole number of labels, such as 40, got '-4.5'"),
    (["--random=forty"], "--random takes a whole number of labels, such as 40, got 'forty'"),
    (["--random", "--per-class", "0"], "--per-class must be 1 or more, got 0"),
    (["--random", "40", "--protos", "4"], "cannot go with --protos"),
    (["--random", "40", "--metric", "conf"], "cannot go with --metric"),
    (["--ratio", "1.5", "--per-class", "4"], "within 0..1, got 1.5"),
    (["--ratio", "nan", "--per-class", "4"], "within 0..1, got nan"),
    (["--ratio", "0.5"], "--ratio needs --per-class"),
    (["--ratio", "0.5", "--per-class", "4", "--protos", "2"], "two ways to say the same"),
    (["--per-class", "4"], "--per-class goes with --random, with --strategy or with --ratio"),
    (
        ["--protos", "4", "--per-class", "4"],
        "--per-class goes with --random, with --strategy or with --ratio",
    ),
    (["--protos", "4", "--outlier-band", "5-20"], "but none are asked for"),
    (["--outliers", "4", "--outlier-band", "20-5"], "band 20-5 must rise within 0..100"),
    (["--outliers", "4", "--outlier-band", "5-120"], "band 5-120 must rise within 0..100"),
    (["--outliers", "4", "--outlier-band", "five"], "such as 5-20, got 'five'"),
    (["--outliers", "4", "--outlier-band", "0-1"], "holds 1 of its"),
    (["--protos", "143"], "class '0' has 142 images, fewer than the 143 prototypes asked of it"),
    (["--protos", "500"], "cannot choose 5000 of 1438 images"),
    (["--protos", "72", "--outliers", "71"], "72 prototypes and 71 outliers would overlap"),
    (["--protos", "20", "--outliers", "9", "--outlier-band", "90-100"], "from the band 90-100"),
    (["--protos", "2", "--metric", "typicality"], "no scores of a metric 'typicality'"),
    (["--protos", "2", "--resize", "16"], "--resize goes with --dataset"),
    (["--random", "4", "--eval-fraction", "0.2"], "--eval-fraction goes with --dataset"),
    (
        ["--random", "4", "--dataset", "digits", "--eval-fraction", "2"],
        "eval_fraction 2.0 must be between 0 and 1",
    ),
    (["--random", "2000"], "cannot choose 2000 of 1438 images"),
    (["--random", "4", "--seed", "-1"], "seed must be 0 or more, got -1"),
    (["--protos", "2", "--dataset", "digitz"], "unknown data set 'digitz'"),
    (["--protos", "2", "--scores", "none.npz"], "there is no scores file none.npz"),
]


@pytest.mark.parametrize(("words", "sentence"), BAD_OPTIONS)
def test_bad_options_are_refused_and_nothing_is_written(
    words: list[str],
    sentence: str,
    digits: ImageDataset,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_scores(digits)
    assert sentence in refusal(capsys, *words)
    assert not (project / "splits").exists()


def test_missing_and_ambiguous_scores_are_explained(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "make them with `fmsel score DATASET`" in refusal(capsys, "--protos", "2")
    assert "name the data set with --dataset" in refusal(capsys, "--random", "40")
    write_scores(digits)
    write_scores(digits, "scores/other.npz")
    answer = "several scores files (digits.npz, other.npz)"
    assert answer in refusal(capsys, "--protos", "2")
    assert answer in refusal(capsys, "--random", "40")


def test_scores_of_another_data_set_are_refused(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scores(digits, images_sha256="0" * 64)
    assert "digits.npz scores 1438 images of digits, not these" in refusal(capsys, "--protos", "2")


def test_unlabelled_images_are_sent_to_random(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for index in range(12):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        (project / "photos/train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(project / f"photos/train/{index}.png")
    write_scores(load_dataset("./photos"), "scores/photos.npz")
    for words in (["--protos", "2"], ["--random", "--per-class", "2"]):
        assert "these images have none; choose by --budget N or --random N" in refusal(
            capsys, *words
        )
    fmsel("--random", "5")
    assert read("random.json").class_counts == {}
    fmsel("check", "splits/random.json")
    fmsel("show", "splits/random.json")
    assert "no class counts" in capsys.readouterr().out


def test_eval_fraction_says_how_many_images_there_are_to_choose_from(project: Path) -> None:
    for index in range(20):
        path = project / f"photos/{'ab'[index % 2]}/{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (index, 0, 0)).save(path)
    (project / "list.txt").write_text("0\n1\n")
    for words in (["--random", "4"], ["import", "list.txt", "--out", "splits/random.json"]):
        fmsel(*words, "--dataset", "./photos", "--eval-fraction", "0.5", "--force")
        split = read("random.json")
        assert (split.n, split.source["eval_fraction"]) == (10, 0.5)


@pytest.mark.parametrize("words", [["--random", "4"], ["import", "list.txt"]])
def test_offline_is_obeyed(
    words: list[str], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "list.txt").write_text("0\n1\n")
    assert "--offline" in refusal(capsys, *words, "--dataset", "svhn", "--offline")


def test_a_split_of_another_data_set_is_named_with_both_and_a_way_out(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        folder = project / "photos" / name
        folder.mkdir(parents=True)
        for k in range(4):
            Image.new("RGB", (8, 8), (60 * k, 9, 9)).save(folder / f"{k}.png")
    fmsel("--random", "4", "--dataset", "digits")
    before = Path("splits/random.json").read_bytes()
    words = ["--random", "4", "--dataset", "photos"]
    assert refusal(capsys, *words).endswith(
        "splits/random.json is a split of digits, and this one is of photos; pass "
        "--out splits/photos-random.json to have both, or --force to replace it\n"
    )
    Path("random.txt").write_text("0\n1\n")
    said = refusal(capsys, "import", "random.txt", "--dataset", "photos")
    assert "pass --out splits/photos-random.json to have both" in said
    assert Path("splits/random.json").read_bytes() == before
    fmsel(*words, "--out", "splits/photos-random.json")
    assert read("photos-random.json").dataset == "photos"
    Path("splits/random.json").write_text("no split")
    assert "random.json already exists; pass --force" in refusal(capsys, *words)


def test_existing_and_unwritable_outputs_are_refused(
    project: Path, digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--random", "40", "--dataset", "digits"]
    fmsel(*words)
    before = (project / "splits/random.json").read_bytes()
    assert "splits/random.json already exists; pass --force" in refusal(capsys, *words)
    assert (project / "splits/random.json").read_bytes() == before
    fmsel(*words, "--seed", "1", "--force")
    assert (project / "splits/random.json").read_bytes() != before
    (project / "file").touch()
    assert "cannot write to file" in refusal(capsys, *words, "--out", "file/a.json")
    if Path("/proc/self").is_dir():
        assert "cannot write to /proc" in refusal(capsys, *words, "--out", "/proc/a.json")
