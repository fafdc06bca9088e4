"""How well metrics rank: correlations and intervals by scipy, references, the page."""

import dataclasses
import tempfile
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from made_scores import record_of
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image
from scipy.stats import bootstrap, pearsonr, rankdata, spearmanr

from fmsel.datasets import ImageDataset, Source, WeakAugment
from fmsel.datasets.published import PublishedSets
from fmsel.errors import ArtefactError, OptionError, OutputError
from fmsel.metrics.scores import Scores, within_class_percentile
from fmsel.metrics.scores import agreement as under_test
from fmsel.metrics.scores.agreement import (
    bootstrap_correlations,
    pearson_matrix,
    spearman_matrix,
    within_class_matrix,
)
from fmsel.metrics.scores.quality import Quality, lift, measure_quality, sets_quality
from fmsel.metrics.scores.reference import Reference, load_reference, load_references
from fmsel.metrics.scores.summary import consensus, made_with_other_labels
from fmsel.report.scores import (
    _name_points,
    matrix_tables,
    quality_figure,
    quality_tables,
    report_notes,
    write_report,
)

N = 40


def toy(count: int = N) -> ImageDataset:
    return ImageDataset(
        name="toy",
        source=Source(dataset="toy"),
        part="train",
        images=np.zeros((count, 8, 8, 3), dtype=np.uint8),
        labels=np.arange(count, dtype=np.int64) % 3,
        ids=np.arange(count).astype(str),
        class_names=("a", "b", "c"),
        weak=WeakAugment(),
    )


def scores(arrays: dict[str, np.ndarray], use: str = "formula", **cost: float) -> Scores:
    records = {
        name: record_of(
            array,
            seconds=0.5,
            compute_seconds={"crossfit": cost[name]} if name in cost else {},
            label_use="none" if name == "density" else use,
            labels_sha256="x",
        )
        for name, array in arrays.items()
    }
    return Scores(dataset=toy().describe(), arrays=arrays, records=records)


def example(seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=N)
    arrays = {
        "conf": base + 0.1 * rng.normal(size=N),
        "agr": base + rng.normal(size=N),
        "density": rng.normal(size=N),
        "same": np.ones(N),
    }
    return scores({k: v.astype(np.float32) for k, v in arrays.items()}, conf=10.0, agr=10.0)


@st.composite
def tied(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two arrays with ties, and classes."""
    size = draw(st.integers(4, 30))
    cells = [
        draw(st.lists(st.integers(0, top), min_size=size, max_size=size)) for top in (4, 50, 2)
    ]
    return np.array(cells[0], float), np.array(cells[1], float), np.array(cells[2])


@effort(max_examples=50)
@given(tied())
def test_matrices_are_scipys(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    one, other, labels = case
    if min(np.ptp(one), np.ptp(other)) == 0:
        assert np.isnan(spearman_matrix([one, other])[0, 1])
        return
    assert pearson_matrix([one, other])[0, 1] == pytest.approx(pearsonr(one, other)[0], abs=1e-9)
    assert spearman_matrix([one, other])[0, 1] == pytest.approx(spearmanr(one, other)[0], abs=1e-9)
    inside = [_ranks_by_loop(each, labels) for each in (one, other)]
    if min(map(np.ptp, inside)) > 0:
        expected = pearsonr(*inside)[0]
        found = within_class_matrix([one, other], labels)
        assert found[0, 1] == found[1, 0] == pytest.approx(expected, abs=1e-9)


def _ranks_by_loop(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    out = np.empty(len(values))
    for label in set(labels.tolist()):
        members = labels == label
        out[members] = (rankdata(values[members]) - 0.5) / members.sum()
    return out


@effort(max_examples=50)
@given(tied(), st.integers(0, 10**6))
def test_every_resample_is_ranked_anew(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int
) -> None:
    """Equal to writing the resample out and ranking it, ties and missing classes included."""
    one, other, labels = case
    drawn = np.random.default_rng(seed).integers(len(one), size=len(one))
    weights = np.bincount(drawn, minlength=len(one)).astype(float)
    _, groups = np.unique(labels, return_inverse=True)
    for kind, inside in ((np.zeros_like(groups), np.zeros_like(labels)), (groups, labels)):
        ranks = [_ranks_by_loop(each[drawn], inside[drawn]) for each in (one, other)]
        found = under_test._correlations(
            [under_test._Ranks(one, kind)], under_test._Ranks(other, kind), weights
        )[0]
        if min(map(np.ptp, ranks)) < 1e-9:
            assert np.isnan(found)
        else:
            assert found == pytest.approx(pearsonr(*ranks)[0], abs=1e-7)


def test_intervals_are_those_of_scipys_bootstrap() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=150)
    metric = truth + rng.normal(size=150)
    found = bootstrap_correlations([metric], truth, np.zeros(150, np.int64))[0]
    assert found.value == pytest.approx(spearmanr(metric, truth)[0])
    theirs = bootstrap(
        (metric, truth),
        lambda x, y: spearmanr(x, y).statistic,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=0,
    ).confidence_interval
    assert found.low == pytest.approx(theirs.low, abs=0.02)
    assert found.high == pytest.approx(theirs.high, abs=0.02)


def test_intervals_hold_the_truth_about_as_often_as_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bivariate normal with r = 0.6: its rank correlation is 6/pi asin(r/2) (Pearson 1907)."""
    monkeypatch.setattr(under_test, "RESAMPLES", 100)
    truth, found = 6 / np.pi * np.arcsin(0.3), []
    rng = np.random.default_rng(0)
    for seed in range(100):
        pairs = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 80).T
        found += bootstrap_correlations([pairs[0]], pairs[1], np.zeros(80, np.int64), seed=seed)
    assert sum(each.low <= truth <= each.high for each in found) >= 88  # 95 are expected
    drawn = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], (500, 80))
    spread = np.std([spearmanr(each).statistic for each in drawn])
    assert np.mean([e.high - e.low for e in found]) == pytest.approx(3.92 * spread, rel=0.15)


def test_resamples_are_seeded_and_shared() -> None:
    rng = np.random.default_rng(0)
    truth, zeros = rng.normal(size=30), np.zeros(30, np.int64)
    metric = truth + rng.normal(size=30)
    first, same = bootstrap_correlations([metric, metric], truth, zeros)
    assert first == same == bootstrap_correlations([metric], truth, zeros)[0]
    assert first != bootstrap_correlations([metric], truth, zeros, seed=1)[0]


def test_lift_by_hand() -> None:
    """100 images, of which the reference doubts ten; a metric that ranks them lowest finds them."""
    reference = np.array([0.0] * 10 + [1.0] * 90)
    assert lift(np.arange(100.0), reference) == (10.0, 0.0)
    assert lift(-np.arange(100.0), reference) == (0.0, 10.0)
    # Ties at the tenth all count: 20 of 100 are doubtful, so nothing can be more than 5 times it.
    assert lift(np.arange(100.0), np.array([0.0] * 20 + [1.0] * 80)) == (5.0, 0.0)


def test_published_sets_by_hand() -> None:
    sets = PublishedSets(
        dataset="toy",
        n=6,
        labels_sha256="",
        names=("0", "1", "2"),
        indices=np.array([[0, 3], [1, 4], [2, 5]]),
        labels=np.array([[0, 1]] * 3),
        citation="",
        url="",
    )
    labels = np.array([0, 0, 0, 1, 1, 1])
    found = sets_quality(np.array([1.0, 2, 3, 10, 20, 30]), labels, sets)
    assert found.spearman == pytest.approx(1)
    assert (found.first, found.last) == pytest.approx((1 / 6, 5 / 6))
    assert np.isnan(sets_quality(np.ones(6), labels, sets).spearman)


def measured() -> tuple[Quality, Reference]:
    made = example()
    values = np.asarray(made.array("conf"), np.float64)
    reference = Reference(name="people", indices=np.arange(10, 30), values=values[10:30])
    return measure_quality(made, toy().labels, [reference]), reference


def test_measured_figures_follow_from_the_definitions() -> None:
    made, (quality, _) = example(), measured()
    people = quality.references["people"]
    assert people["conf"].overall.value == pytest.approx(1)
    assert people["conf"].within_class.value == pytest.approx(1)
    mean = np.mean([rankdata(a) for a in made.arrays.values()], axis=0)
    expected = spearmanr(mean[10:30], made.array("conf")[10:30]).statistic
    assert people["consensus"].overall.value == pytest.approx(expected)
    others = np.mean([rankdata(made.array(m)) for m in ("conf", "density", "same")], axis=0)
    assert quality.with_others["agr"] == pytest.approx(spearmanr(made.array("agr"), others)[0])
    assert np.isnan(quality.with_others["same"]) and np.isnan(people["same"].overall.low)
    assert quality.cost == {"conf": 10.5, "agr": 10.5, "density": None, "same": None}
    assert quality.label_use["density"] == "none" and quality.label_use["consensus"] == "formula"


def test_consensus_weighs_all_metrics_alike() -> None:
    made = example()
    ranks = [within_class_percentile(a, np.zeros(N, np.int64)) for a in made.arrays.values()]
    np.testing.assert_allclose(consensus(made), np.mean(ranks, axis=0))


def test_tables_say_label_use_and_leave_the_undefined_out() -> None:
    quality, reference = measured()
    for table in (*quality_tables(quality), *matrix_tables(quality)):
        assert table.headings[1] == "oracle"
        uses = {row[0].split()[-1]: row[1] for row in table.rows}
        assert uses["density"] == "no" and uses["conf"] == "formula"
        same = next(row for row in table.rows if row[0].endswith("same"))
        assert "nan" not in str(table.rows) and "–" in same
    said = " ".join(report_notes(quality, [reference], ["agr"]))
    assert "people: 20 images" in said and "1,000 resamples" in said
    assert "oracle: the metric read labels" in said
    assert "Made with other labels than the images have now: agr." in said


def test_metrics_of_older_labels_are_known() -> None:
    assert made_with_other_labels(example(), "y") == ["conf", "agr", "same"]
    assert made_with_other_labels(example(), "x") == []


class Page(HTMLParser):
    """What a page loads and says."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href") and v]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_self_contained_and_escaped(tmp_path: Path) -> None:
    quality, _ = measured()
    write_report(quality, "Metrics of <b>pets</b>", ["a & b"], tmp_path)
    page = Page()
    page.feed((tmp_path / "report.html").read_text())
    assert page.links and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "Metrics of <b>pets</b>" in page.text and "a & b" in page.text
    assert page.tags.count("table") == 5 and "b" not in page.tags and "script" not in page.tags
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 800
    with pytest.raises(OutputError, match=r"report.html already exists; pass --force"):
        write_report(quality, "again", [], tmp_path)


def test_headings_end_within_the_picture() -> None:
    few = measure_quality(example(), toy().labels)
    for quality in (few, measured()[0]):
        figure = quality_figure(quality)
        figure.canvas.draw()
        texts = [text for axes in figure.axes for text in axes.findobj(Text) if text.get_text()]
        assert max(text.get_window_extent().x1 for text in texts) <= figure.bbox.x1


def test_picture_shows_every_metric_where_it_is() -> None:
    quality, _ = measured()
    figure = quality_figure(quality)
    cost = figure.axes[3]
    assert "people" in str([text.get_text() for text in cost.texts])
    points = [np.asarray(line.get_xdata()) for line in cost.lines]
    known = [float(each[0]) for each in points if len(each) == 1]
    assert known == [10.5, 10.5]  # the metrics whose cost is known
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert f"{quality.spearman[0, 1]:.2f}" in numbers and "–" in numbers


def test_names_beside_the_plot_do_not_cover_one_another() -> None:
    axes = Figure().subplots()
    axes.set_ylim(0, 1)
    _name_points(axes, {str(i): (1.0, 0.99 - 0.001 * i) for i in range(20)}, 0.045)
    heights = sorted(text.xyann[1] for text in axes.texts if isinstance(text, Annotation))
    assert min(b - a for a, b in pairwise(heights)) > 0.04 and heights[-1] <= 1


def write_csv(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@effort(max_examples=20)
@given(st.permutations(range(N)), st.integers(3, N))
def test_references_round_trip(order: list[int], count: int) -> None:
    """A csv and an npz of the same images say the same, in any order."""
    chosen = np.array(order[:count])
    values = np.sqrt(chosen)
    with tempfile.TemporaryDirectory() as folder:
        rows = "".join(f"{i},{float(v)!r}\n" for i, v in zip(chosen, values, strict=True))
        text = write_csv(Path(folder, "r.csv"), "index,score\n" + rows)
        np.savez(Path(folder, "r.npz"), index=chosen, score=values)
        for place in (text, f"{folder}/r.npz", f"{folder}/r.npz:score"):
            found = load_reference(place, toy())
            assert found.name == "r"
            np.testing.assert_array_equal(found.indices, chosen)
            np.testing.assert_array_equal(found.values, values)


def test_npz_with_labels_proves_its_order(tmp_path: Path) -> None:
    data = toy()
    path = tmp_path / "people.npz"
    np.savez(path, labels=data.labels, agree=np.arange(N), other=np.arange(N))
    with pytest.raises(ArtefactError, match=r"must hold one array of values, got agree, other"):
        load_reference(str(path), data)
    assert load_reference(f"{path}:agree", data).name == "people:agree"
    np.savez(path, labels=data.labels[::-1], agree=np.arange(N))
    with pytest.raises(ArtefactError, match="about other images: its labels differ from those of"):
        load_reference(str(path), data)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("score\n1\n", "first line must name its columns, one of them `index`"),
        (
            "index,score\n0,1\n1,2\n40,3\n",
            "has the index 40, but the data set's images are 0 to 39",
        ),
        ("index,score\n0,1\n1.5,2\n2,3\n", "has the index 1.5"),
        ("index,score\n0,1\n1,2\n1,3\n", "has the index 1 more than once"),
        ("index,score\n0,1\n7,nan\n2,3\n", "the value of image 7 is nan; leave such images out"),
        ("index,score\n0,1\n1,high\n2,3\n", "score must hold numbers"),
        ("index,score\n0,1\n1\n2,3\n", "the line '1' has not 2 values"),
        ("index,score\n0,1\n1,2\n", "has values for 2 images; a correlation needs 3"),
        ("index\n0\n1\n2\n", "must hold one array of values, got none"),
        ("", "first line must name its columns"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ArtefactError, match=sentence):
        load_reference(write_csv(tmp_path / "r.csv", text), toy())


def test_bad_files(tmp_path: Path) -> None:
    data, path = toy(), tmp_path / "r.npz"
    with pytest.raises(ArtefactError, match=r"r.npz cannot be read \(No such file"):
        load_reference(str(path), data)
    path.write_bytes(b"no archive")
    with pytest.raises(ArtefactError, match=r"r.npz cannot be read"):
        load_reference(str(path), data)
    np.savez(path, score=np.arange(10))
    with pytest.raises(ArtefactError, match=r"values of shape \(10,\) for 40 images; add an array"):
        load_reference(str(path), data)
    np.savez(path, score=np.zeros((N, 2)))
    with pytest.raises(ArtefactError, match=r"values of shape \(40, 2\) for 40 images"):
        load_reference(str(path), data)
    np.savez(path, score=np.array([{}] * N, dtype=object))
    with pytest.raises(ArtefactError, match="cannot be read"):
        load_reference(str(path), data)
    with pytest.raises(ArtefactError, match=r"r.txt must be a .csv or .npz file"):
        load_reference(write_csv(tmp_path / "r.txt", ""), data)
    np.savez(path, score=np.arange(N))
    with pytest.raises(OptionError, match="two references are called 'r'"):
        load_references([str(path), str(path)], data)
    with pytest.raises(ArtefactError, match="holds no values 'rank'; it holds score"):
        load_reference(f"{path}:rank", data)


def test_new_labels_change_only_the_ranks_within_classes() -> None:
    made, data = example(), toy()
    relabelled = dataclasses.replace(data, labels=np.zeros(N, np.int64))
    one, other = (measure_quality(made, d.labels) for d in (data, relabelled))
    np.testing.assert_array_equal(one.spearman, other.spearman)
    np.testing.assert_allclose(other.within_class, other.spearman)
    assert not np.allclose(one.within_class, one.spearman, equal_nan=True)
