"""Published rankings: the order survives, other images are refused, the command uses them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_scores import record_of
from scipy.stats import spearmanr

from fmsel.cli.app import main
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.errors import ArtefactError, OptionError, OutputError
from fmsel.metrics.scores import Scores, published
from fmsel.metrics.scores.catalogue import metric_names
from fmsel.metrics.scores.published import publish, published_scores


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


def scores(data: ImageDataset, values: np.ndarray) -> Scores:
    array = values.astype(np.float32)
    record = record_of(array, seed=3, seconds=0.1, labels_sha256=data.labels_sha256)
    return Scores(dataset=data.describe(), arrays={"conf": array}, records={"conf": record})


@given(st.lists(st.integers(-3, 3), min_size=4, max_size=40))
def test_order_and_ties_survive(
    tmp_path_factory: pytest.TempPathFactory, values: list[int]
) -> None:
    digits = load_dataset("digits")
    n = len(values)
    few = dataclasses.replace(
        digits, images=digits.images[:n], labels=digits.labels[:n], ids=digits.ids[:n]
    )
    folder = tmp_path_factory.mktemp("published")
    publish(scores(few, np.array(values)), folder / "digits.npz", "made by a test")
    read, provenance = published_scores(few, folder)
    ranks = read.array("conf")
    assert provenance == "made by a test"
    for i in range(n):
        for j in range(n):
            assert (ranks[i] < ranks[j]) == (values[i] < values[j])


def test_a_published_file_becomes_a_scores_file(
    digits: ImageDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = np.random.default_rng(0).random(len(digits))
    publish(scores(digits, values), tmp_path / "digits.npz", "made by a test on one machine")
    monkeypatch.setattr(published, "FOLDER", tmp_path)
    out = tmp_path / "s.npz"
    assert main(["score", "digits", "--published", "--out", str(out)]) == 0
    assert "made by a test on one machine" in " ".join(capsys.readouterr().out.split())
    made = Scores.load(out)
    assert made.records["conf"].seed == 3
    assert made.records["conf"].published == "made by a test on one machine"
    assert spearmanr(made.array("conf"), values).statistic == pytest.approx(1)
    made.check(digits, "s.npz")
    stem, folder = tmp_path / "g", tmp_path / "r"
    assert main(["gallery", str(out), "--metric", "conf", "--out", str(stem)]) == 0
    assert main(["scores", "report", str(out), "--out", str(folder)]) == 0
    for page in (stem.with_suffix(".html"), folder / "report.html"):
        said = " ".join(page.read_text().split())
        assert "Ranks that came with fmsel, not scores" in said, page
        assert "made by a test on one machine" in said, page


def test_other_images_or_data_sets_are_refused(digits: ImageDataset, tmp_path: Path) -> None:
    publish(scores(digits, np.arange(len(digits))), tmp_path / "digits.npz", "test")
    relabelled = dataclasses.replace(digits, labels=np.roll(digits.labels, 1))
    with pytest.raises(ArtefactError, match="have other labels or another order"):
        published_scores(relabelled, tmp_path)
    with pytest.raises(OptionError, match=r"no rankings of other .*there are those of: digits"):
        published_scores(dataclasses.replace(digits, name="other"), tmp_path)
    with pytest.raises(OutputError, match="already exists"):
        publish(scores(digits, np.arange(len(digits))), tmp_path / "digits.npz", "test")


def test_pixels_do_not_matter(digits: ImageDataset, tmp_path: Path) -> None:
    publish(scores(digits, np.arange(len(digits))), tmp_path / "digits.npz", "test")
    copy = dataclasses.replace(digits, images=digits.images // 2)
    read, _ = published_scores(copy, tmp_path)
    read.check(copy, "published")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--metric", "conf"], "--published takes the metrics that were published"),
        ([], "no rankings of digits are published with fmsel"),
    ],
)
def test_bad_use_is_a_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "s.npz"
    assert main(["score", "digits", "--published", "--out", str(out), *words]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


@pytest.mark.parametrize("path", [published.FOLDER / "cifar10.npz"], ids=lambda path: path.stem)
def test_what_comes_with_fmsel_holds_ranks_and_says_where_from(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        header, ranks = json.loads(str(file["header"])), file["ranks"]
    assert header["dataset"]["dataset"] == path.stem and header["provenance"]
    assert ranks.shape == (len(header["records"]), header["dataset"]["n"])
    for row in ranks:
        values, counts = np.unique(row, return_counts=True)
        np.testing.assert_array_equal(values, np.cumsum(counts) - counts)  # lowest of equal ranks
    assert set(header["records"]) <= set(metric_names())
