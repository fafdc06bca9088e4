"""The gallery shows the true extremes, enlarged without smoothing."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from fmsel.datasets import ImageDataset, Source, WeakAugment
from fmsel.errors import DataError
from fmsel.report.gallery import draw_gallery, gallery_picks


@st.composite
def scored(draw: st.DrawFn) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Scores with ties, and labels of three classes with at least four images each, some -1."""
    extra = draw(st.lists(st.integers(-1, 2), max_size=20))
    labels = np.array(draw(st.permutations([0, 1, 2] * 4 + extra)))
    size = len(labels)
    scores = draw(st.lists(st.integers(0, 5), min_size=size, max_size=size))
    return np.array(scores) / 5, labels


@given(scored(), st.integers(1, 2))
def test_picks_are_the_extremes_of_each_class(
    case: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]], k: int
) -> None:
    scores, labels = case
    most, least = gallery_picks(scores, labels, 3, k)
    for label in range(3):
        members = [i for i in range(len(labels)) if labels[i] == label]
        ranked = sorted(scores[members])
        assert set(most[label]) | set(least[label]) <= set(members)
        assert len(set(most[label]) | set(least[label])) == 2 * k
        assert scores[most[label]].tolist() == ranked[::-1][:k]
        assert scores[least[label]].tolist() == ranked[:k]


def test_a_class_too_small_is_named() -> None:
    with pytest.raises(DataError, match=r"class 1 has 3 images.*2 prototypes.*needs 4"):
        gallery_picks(np.arange(7.0), np.array([0, 0, 0, 0, 1, 1, 1]), 2, 2)


def flat_colours() -> ImageDataset:
    """Two classes of four flat images each; image i has the grey level 30 i."""
    levels = (30 * np.arange(8, dtype=np.uint8)).reshape(8, 1, 1, 1)
    return ImageDataset(
        name="flat",
        source=Source(dataset="flat"),
        part="train",
        images=np.broadcast_to(levels, (8, 8, 8, 3)).copy(),
        labels=np.repeat(np.arange(2), 4),
        ids=np.arange(8).astype(str),
        class_names=("dark", "bright"),
        weak=WeakAugment(),
    )


def test_the_picture_holds_the_most_and_the_least_prototypical_side_by_side() -> None:
    figure = Figure(figsize=(6, 4))
    draw_gallery(figure, flat_colours(), np.arange(8.0), "scored by hand", k=1)
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["dark", "bright"]
    texts = {text.get_text() for text in axes.texts}
    assert {"most prototypical", "least prototypical"} <= texts
    assert "scored by hand; oracle: reads every label" in texts
    left, right = sorted(axes.images, key=lambda image: image.get_extent()[0])
    for shown, levels in ((left, (90, 210)), (right, (0, 120))):
        picture = np.asarray(shown.get_array())
        half = len(picture) // 2
        for part, level in zip((picture[:half], picture[half:]), levels, strict=True):
            assert set(np.unique(part)) == {level, 255}  # the image itself and its white frame


def test_it_renders() -> None:
    figure = Figure(figsize=(6, 4), dpi=100)
    draw_gallery(figure, flat_colours(), np.arange(8.0), "scored by hand", k=2)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert Image.open(buffer).size == (600, 400)
