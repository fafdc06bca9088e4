"""The ends of every class side by side, outliers left and prototypes right, as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from PIL import Image

from fmsel.datasets import ImageDataset
from fmsel.metrics.scores import Scores, typical_first
from fmsel.metrics.scores.summary import default_ranking, provenances, ranking_name
from fmsel.report.figure import MARGIN, TEXT_SIZE, TITLE_SIZE, new_figure, plain, set_heading

BETWEEN = 0.5  # cells between the two halves
GAP = 0.12  # white between images, as a share of their side
MIN_SIDE = 64  # pixels an image is enlarged to before matplotlib resamples it
MAX_SIDE = 96  # pixels an image is reduced to
MAX_ROWS = 20  # classes in a picture; a page has room for more
ACROSS = 3  # rankings side by side in a picture, before the next line
CELL, HALF = 0.5, 5  # inches of an image, and images for which there is room at that size
LETTER, HEADING = 0.09, 1.1  # inches of a letter of a class's name, and above a ranking's images
LONGEST = 14  # letters of a name in a picture
WORDY = 4  # images of an end from which on there is room for "most prototypical"
READS = {  # label use -> what a reader of the gallery must know
    "formula": "oracle: reads every label",
    "training": "oracle: networks learned from the labels",
    "none": "ranking reads no label",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """What the images are ordered by.

    Attributes:
        name: a metric, or several whose percentiles are averaged.
        scores: (N,), higher = more prototypical.
        label_use: "none", "training" or "formula".
        published: where ranks that came with fmsel are from; empty for scores made by the user.
    """

    name: str
    scores: npt.NDArray[np.floating]
    label_use: str
    published: Sequence[str] = ()

    @property
    def reads(self) -> str:
        """How far the ranking reads labels, in words."""
        return READS[self.label_use]


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One class in one ranking.

    Attributes:
        name: of the class, or what its images are where they have no label.
        count: its images.
        outliers, prototypes: (<= k,) int64 indices, each from the less to the more prototypical.
        ranks: index -> place in the class, 1 = the best prototype.
    """

    name: str
    count: int
    outliers: npt.NDArray[np.int64]
    prototypes: npt.NDArray[np.int64]
    ranks: dict[int, int]


def rankings(
    scores: Scores, labels: npt.NDArray[np.int64], metrics: Sequence[str] = ()
) -> list[Ranking]:
    """The rankings by `metrics`, or the one that tables and splits use where none is named.

    Args:
        labels: (N,) int64.
    Raises:
        OptionError: the scores hold no such metric.
    """
    if metrics:
        return [
            Ranking(
                name=m,
                scores=scores.array(m),
                label_use=scores.records[m].label_use,
                published=provenances(scores, [m]),
            )
            for m in metrics
        ]
    ranking, used = default_ranking(scores, labels)
    uses = {scores.records[m].label_use for m in used}
    most = next(use for use in READS if use in uses)
    return [
        Ranking(
            name=ranking_name(used),
            scores=ranking,
            label_use=most,
            published=provenances(scores, used),
        )
    ]


def gallery_rows(data: ImageDataset, scores: npt.NDArray[np.floating], k: int) -> list[Row]:
    """The k least and the k most prototypical images of each class.

    A class of fewer than 2 k images is shown whole, its middle parting the halves. Images without a
    label are a row of their own after the classes.

    Args:
        scores: (N,), higher = more prototypical.
    """
    names = dict(enumerate(data.class_names))
    if (data.labels < 0).any():
        names[-1] = "no label" if (data.labels >= 0).any() else "all images"
    return [_row(name, np.flatnonzero(data.labels == c), scores, k) for c, name in names.items()]


def _row(
    name: str, members: npt.NDArray[np.int64], scores: npt.NDArray[np.floating], k: int
) -> Row:
    best_first = members[typical_first(scores[members])]
    n = len(members)
    low, high = best_first[max(n - k, n - n // 2) :], best_first[: min(k, n - n // 2)]
    places = {int(index): place for place, index in enumerate(best_first, start=1)}
    return Row(
        name=name,
        count=n,
        outliers=low[::-1],
        prototypes=high[::-1],
        ranks={int(index): places[int(index)] for index in (*low, *high)},
    )


def gallery_figure(data: ImageDataset, ranked: Sequence[Ranking], k: int = 5) -> Figure:
    """One panel a ranking, side by side, of at most `MAX_ROWS` rows each."""
    panels = [(each, gallery_rows(data, each.scores, k)) for each in ranked]
    left_out = len(panels[0][1]) - MAX_ROWS
    across = min(len(panels), ACROSS)
    down = -(-len(panels) // across)
    rows = len(panels[0][1][:MAX_ROWS])
    cell = CELL * min(1, HALF / k)
    letters = max(len(short_name(row.name)) for row in panels[0][1])
    width = (2 * k + BETWEEN) * cell + letters * LETTER + 2 * MARGIN
    height = max(rows * cell, 1.0) + HEADING
    figure = new_figure(across * max(width, 5), down * height + HEADING / 4 * (len(panels) > 1))
    title = f"The ends of every class of {data.name}"
    if left_out > 0:
        title = f"The ends of the first {MAX_ROWS} of {MAX_ROWS + left_out} classes of {data.name}"
    if len(panels) > 1:
        figure.suptitle(plain(title), x=0.01, ha="left", fontsize=TITLE_SIZE, fontweight="bold")
    grid = figure.subplots(down, across, squeeze=False)
    for axes, (ranking, shown) in zip(grid.flat, panels, strict=False):
        _draw_rows(axes, data, shown[:MAX_ROWS], k)
        came = " (as published)" if ranking.published else ""
        if len(panels) > 1:
            set_heading(axes, ranking.name + came, ranking.reads, above=26)
        else:
            set_heading(axes, title, f"ranked by {ranking.name}{came}; {ranking.reads}", above=26)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    return figure


def draw_gallery(
    figure: FigureBase, data: ImageDataset, scores: npt.NDArray[np.floating], note: str, k: int = 5
) -> None:
    """Draw one row a class: the k least prototypical images on the left, the k most on the right.

    Args:
        scores: (N,), higher = more prototypical.
        note: the line below the title: what ranked the images. That the picture is an oracle, as it
            shows the classes apart, is added to it.
    """
    axes = figure.subplots()
    _draw_rows(axes, data, gallery_rows(data, scores, k), k)
    set_heading(
        axes, f"The ends of every class of {data.name}", f"{note}; {READS['formula']}", above=26
    )


def thumbnail(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """An image (H, W, 3) with no side above `MAX_SIDE`; smaller ones are left as they are."""
    if max(pixels.shape[:2]) <= MAX_SIDE:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return np.asarray(image)


def _draw_rows(axes: Axes, data: ImageDataset, rows: Sequence[Row], k: int) -> None:
    least, most = ("least", "most") if k < WORDY else ("least prototypical", "most prototypical")
    _show(axes, data, [row.outliers for row in rows], 0, k, least)
    _show(axes, data, [row.prototypes for row in rows], k + BETWEEN, k, most)
    axes.set(xlim=(0, 2 * k + BETWEEN), ylim=(len(rows), 0), xticks=[], anchor="NW")
    axes.set_yticks(np.arange(len(rows)) + 0.5, [plain(short_name(row.name)) for row in rows])
    axes.tick_params(axis="y", length=0, labelsize=TEXT_SIZE)
    axes.spines[:].set_visible(False)


def short_name(name: str) -> str:
    """The name, or both its ends: long names often differ in their last letters alone."""
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST // 2]}…{name[LONGEST // 2 + 1 - LONGEST :]}"


def _show(
    axes: Axes,
    data: ImageDataset,
    indices: Sequence[npt.NDArray[np.int64]],
    start: float,
    k: int,
    heading: str,
) -> None:
    """Show up to k images a row in cells of side 1 from x = `start`; row 0 is at the top."""
    axes.imshow(_mosaic(data, indices, k), extent=(start, start + k, len(indices), 0))
    axes.annotate(
        heading,
        xy=(start, 0),
        xytext=(2, 5),
        textcoords="offset points",
        fontsize=TEXT_SIZE,
    )


def _mosaic(
    data: ImageDataset, indices: Sequence[npt.NDArray[np.int64]], k: int
) -> npt.NDArray[np.uint8]:
    """One (rows * side, k * side, 3) picture, white between the images and where there are none.

    Pixels are repeated, not smoothed: an 8x8 digit is to be seen as the network sees it.
    """
    height, width, _ = thumbnail(data.images[0]).shape
    scale = max(1, -(-MIN_SIDE // height))
    pad = round(GAP * scale * height / 2)
    cell = (scale * height + 2 * pad, scale * width + 2 * pad, 3)
    cells = np.full((len(indices), k, *cell), 255, np.uint8)
    inside = slice(pad, cell[0] - pad), slice(pad, cell[1] - pad)
    for r, row in enumerate(indices):
        for c, index in enumerate(row):
            large = thumbnail(data.images[index]).repeat(scale, axis=0).repeat(scale, axis=1)
            cells[r, c][inside] = large
    return cells.transpose(0, 2, 1, 3, 4).reshape(len(indices) * cell[0], k * cell[1], 3)
