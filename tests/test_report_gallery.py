"""The gallery shows the true extremes, outliers left, enlarged without smoothing; and the page."""

import base64
import dataclasses
import io
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_scores import record_of
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image
from scipy.stats import rankdata

from fmsel.datasets import ImageDataset, Source, WeakAugment
from fmsel.metrics.scores import Scores
from fmsel.metrics.scores.summary import extremes
from fmsel.report import gallery_page
from fmsel.report.gallery import (
    Ranking,
    draw_gallery,
    gallery_figure,
    gallery_rows,
    rankings,
    thumbnail,
)
from fmsel.report.gallery_page import gallery_pages


def flat(labels: npt.ArrayLike, names: tuple[str, ...], side: int = 8) -> ImageDataset:
    """Flat images; image i has the grey level 30 i (of at most 8)."""
    given = np.asarray(labels, np.int64)
    levels = (30 * (np.arange(len(given)) % 8)).astype(np.uint8).reshape(-1, 1, 1, 1)
    return ImageDataset(
        name="flat",
        source=Source(dataset="flat"),
        part="train",
        images=np.broadcast_to(levels, (len(given), side, side, 3)).copy(),
        labels=given,
        ids=np.array([f"img {i}" for i in range(len(given))]),
        class_names=names,
        weak=WeakAugment(),
    )


def flat_colours() -> ImageDataset:
    return flat(np.repeat(np.arange(2), 4), ("dark", "bright"))


def ranking(scores: npt.ArrayLike, name: str = "conf", use: str = "training") -> Ranking:
    return Ranking(name=name, scores=np.asarray(scores, np.float64), label_use=use)


def some_scores(uses: dict[str, str], data: ImageDataset) -> Scores:
    arrays = {
        name: np.random.default_rng(i).random(len(data)).astype(np.float32)
        for i, name in enumerate(uses)
    }
    records = {
        name: record_of(arrays[name], label_use=use, labels_sha256=data.labels_sha256)
        for name, use in uses.items()
    }
    return Scores(dataset=data.describe(), arrays=arrays, records=records)


@st.composite
def scored(draw: st.DrawFn) -> tuple[ImageDataset, npt.NDArray[np.float64]]:
    """Scores with ties, and labels of three classes, some of them empty or -1."""
    labels = draw(st.lists(st.integers(-1, 2), min_size=1, max_size=24))
    scores = draw(st.lists(st.integers(0, 5), min_size=len(labels), max_size=len(labels)))
    return flat(labels, ("a", "b", "c")), np.array(scores) / 5


@given(scored(), st.integers(1, 4))
def test_rows_are_the_extremes_of_each_class(
    case: tuple[ImageDataset, npt.NDArray[np.float64]], k: int
) -> None:
    data, scores = case
    rows = gallery_rows(data, scores, k)
    assert len(rows) == 3 + bool((data.labels < 0).any())
    for label, row in zip((0, 1, 2, -1), rows, strict=False):
        members = np.flatnonzero(data.labels == label)
        shown = [*row.outliers, *row.prototypes]
        assert len(set(shown)) == len(shown) == min(2 * k, len(members)) and row.count == len(
            members
        )
        ascending = sorted(scores[members])
        assert scores[row.outliers].tolist() == ascending[: len(row.outliers)]
        assert scores[row.prototypes].tolist() == ascending[len(members) - len(row.prototypes) :]
        assert abs(len(row.outliers) - len(row.prototypes)) <= 1
        places = dict(zip(members, rankdata(-scores[members], method="ordinal"), strict=True))
        assert row.ranks == {index: places[index] for index in shown}


@given(scored(), st.integers(1, 2))
def test_rows_are_what_a_split_takes(
    case: tuple[ImageDataset, npt.NDArray[np.float64]], k: int
) -> None:
    data, scores = case
    ends = extremes(scores, data.labels, k)
    for label, row in enumerate(gallery_rows(data, scores, k)[:3]):
        if row.count >= 2 * k:
            most, least = ends[label]
            np.testing.assert_array_equal(row.outliers, least)
            np.testing.assert_array_equal(row.prototypes, most[::-1])


def levels(picture: AxesImage, rows: int) -> list[set[int]]:
    """Grey levels of each row of cells, without the white between them."""
    parts = np.split(np.asarray(picture.get_array()), rows)
    return [set(np.unique(part).tolist()) - {255} for part in parts]


def test_the_picture_holds_outliers_left_and_prototypes_right() -> None:
    figure = Figure(figsize=(6, 4))
    draw_gallery(figure, flat_colours(), np.arange(8.0), "scored by hand", k=1)
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["dark", "bright"]
    assert "scored by hand; oracle: reads every label" in {text.get_text() for text in axes.texts}
    left, right = sorted(axes.images, key=lambda image: image.get_extent()[0])
    assert levels(left, 2) == [{0}, {120}]
    assert levels(right, 2) == [{90}, {210}]
    places = {text.get_text(): text.xy[0] for text in axes.texts}  # type: ignore[attr-defined]
    assert places["least"] == left.get_extent()[0]
    assert places["most"] == right.get_extent()[0]


def test_a_class_too_small_shows_what_it_has_once() -> None:
    data = flat([0, 0, 0, 1, 1, 1, 1, 1], ("few", "more", "none"))
    figure = gallery_figure(data, [ranking(np.arange(8))], k=3)
    left, right = sorted(figure.axes[0].images, key=lambda image: image.get_extent()[0])
    assert levels(left, 3) == [{0}, {90, 120}, set()]
    assert levels(right, 3) == [{30, 60}, {150, 180, 210}, set()]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_rankings_stand_side_by_side_under_their_names(count: int) -> None:
    ranked = [ranking(np.arange(8), f"metric-{i}", "none") for i in range(count)]
    figure = gallery_figure(flat_colours(), ranked, k=2)
    drawn = [axes for axes in figure.axes if axes.images]
    words = " ".join(axes.get_title(loc="left") for axes in drawn)
    words += " ".join(text.get_text() for axes in drawn for text in axes.texts)
    assert len(drawn) == count and all(each.name in words for each in ranked)
    assert words.count("ranking reads no label") == count
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert Image.open(buffer).width > 300


@pytest.mark.parametrize("count", [1, 2])
def test_a_picture_by_published_ranks_says_so(count: int) -> None:
    own = ranking(np.arange(8), "own")
    came = dataclasses.replace(ranking(np.arange(8), "theirs"), published=("made by a test",))
    figure = gallery_figure(flat_colours(), [own, came][-count:], k=2)
    words = [axes.get_title(loc="left") for axes in figure.axes]
    words += [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [word for word in words if "as published" in word and "theirs" in word]
    assert not [word for word in words if "as published" in word and "own" in word]


def test_a_picture_of_many_classes_says_what_it_leaves_out() -> None:
    data = flat(np.arange(50) % 25, tuple(f"one of the classes {i:02}" for i in range(25)))
    (axes,) = gallery_figure(data, [ranking(np.arange(50))], k=1).axes
    assert axes.get_title(loc="left") == "The ends of the first 20 of 25 classes of flat"
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == [f"one of …ses {i:02}" for i in range(20)]
    (page,) = gallery_pages(data, [ranking(np.arange(50))], 1, "flat").values()
    assert "one of the classes 24" in page


def test_rankings_say_how_far_they_read_labels() -> None:
    data = flat_colours()
    both = {"epoch-confidence": "formula", "conf": "training", "knn-density": "none"}
    scores = some_scores(both, data)
    (default,) = rankings(scores, data.labels)
    assert (default.name, default.label_use) == ("epoch-confidence", "formula")
    named = rankings(scores, data.labels, ["knn-density", "conf"])
    assert [(each.name, each.label_use) for each in named] == [
        ("knn-density", "none"),
        ("conf", "training"),
    ]
    np.testing.assert_array_equal(named[1].scores, scores.array("conf"))
    mixed = some_scores({"knn-density": "none", "conf": "training"}, data)
    (average,) = rankings(mixed, data.labels)
    assert (average.name, average.label_use) == ("knn-density + conf", "training")


def test_thumbnails_are_never_above_96_pixels_and_small_images_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    small, large = (rng.integers(0, 256, (s, s, 3)).astype(np.uint8) for s in (96, 300))
    assert thumbnail(small) is small
    assert thumbnail(large).shape == (96, 96, 3)
    assert abs(float(thumbnail(large).mean()) - float(large.mean())) < 1


class Page(HTMLParser):
    """The tags, image sources and captions of a page, and whether every tag is closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str]] = []
        self.links: list[str] = []
        self.captions: list[list[str]] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.attributes += named.items()
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(named)
        if tag == "a":
            self.links.append(named["href"])
        if tag == "figcaption":
            self.captions.append([])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not (word := data.strip()):
            return
        self.words.append(word)
        if "figcaption" in self.open:
            self.captions[-1].append(word)


def test_the_page_shows_each_image_with_index_label_rank_and_score() -> None:
    data = flat([0, 0, 0, 1, 1, -1], ("<b>cat</b>", "dog & co"))
    ranked = [ranking([0.1, 0.3, 0.2, 0.5, 0.4, 0.6]), ranking(np.arange(6), "agr")]
    (page,) = (Page(text) for text in gallery_pages(data, ranked, 1, "flat").values())
    assert page.captions == [
        ["0 (img 0)", "<b>cat</b>", "3 of 3", "0.1"],
        ["1 (img 1)", "<b>cat</b>", "1 of 3", "0.3"],
        ["0 (img 0)", "<b>cat</b>", "3 of 3", "0"],
        ["2 (img 2)", "<b>cat</b>", "1 of 3", "2"],
        ["4 (img 4)", "dog & co", "2 of 2", "0.4"],
        ["3 (img 3)", "dog & co", "1 of 2", "0.5"],
        ["3 (img 3)", "dog & co", "2 of 2", "3"],
        ["4 (img 4)", "dog & co", "1 of 2", "4"],
        ["5 (img 5)", "no label", "1 of 1", "0.6"],
        ["5 (img 5)", "no label", "1 of 1", "5"],
    ]
    for caption, image in zip(page.captions, page.images, strict=True):
        index = int(caption[0].split()[0])
        png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), data.images[index])
        assert caption[0] in image["alt"]
    assert {"conf", "agr", "oracle: networks learned from the labels"} <= set(page.words)


def test_the_page_needs_nothing_from_elsewhere() -> None:
    (text,) = gallery_pages(flat_colours(), [ranking(np.arange(8))], 2, "flat").values()
    page = Page(text)
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert sources and all(value.startswith("data:image/png") for value in sources)
    assert "script" not in text and "url(" not in text and "default-src 'none'" in text


def test_unlabelled_images_are_one_row() -> None:
    data = flat(np.full(8, -1), ())
    ranked = [ranking(np.arange(8), "knn-density", "none")]
    (text,) = gallery_pages(data, ranked, 2, "flat").values()
    page = Page(text)
    assert [int(caption[0].split()[0]) for caption in page.captions] == [0, 1, 6, 7]
    assert "all images" in page.words and "ranking reads no label" in page.words
    (axes,) = gallery_figure(data, ranked, 2).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["all images"]


def test_too_many_thumbnails_go_on_on_further_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_page, "PAGE_PIXELS", 2 * 2 * 2048)  # room for two classes
    data = flat(np.repeat(np.arange(5), 2), tuple("abcde"))
    pages = gallery_pages(data, [ranking(np.arange(10))], 1, "my #1")
    assert list(pages) == ["my #1.html", "my #1-2.html", "my #1-3.html"]
    parsed = [Page(text) for text in pages.values()]
    labels = [[caption[1] for caption in page.captions] for page in parsed]
    assert labels == [["a", "a", "b", "b"], ["c", "c", "d", "d"], ["e", "e"]]
    for name, page in zip(pages, parsed, strict=True):
        assert {unquote(link) for link in page.links} == set(pages) - {name}
    assert any("classes 3 to 4 of 5" in word for word in parsed[1].words)


def test_large_images_become_thumbnails_in_the_page() -> None:
    data = flat([0, 0], ("a",), side=200)
    (text,) = gallery_pages(data, [ranking([0, 1])], 1, "flat").values()
    for image in Page(text).images:
        png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        assert Image.open(io.BytesIO(png)).size == (96, 96) and image["width"] == "96"


def test_ids_that_are_the_indices_are_not_said_twice() -> None:
    data = flat([0, 0], ("a",))
    data = dataclasses.replace(data, ids=np.array(["0", "1"]))
    (text,) = gallery_pages(data, [ranking([0, 1])], 1, "flat").values()
    assert [caption[0] for caption in Page(text).captions] == ["0", "1"]
