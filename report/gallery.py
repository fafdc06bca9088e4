"""The most and the least prototypical images of every class, side by side."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from fmsel.datasets import ImageDataset
from fmsel.errors import DataError
from fmsel.metrics.scores.summary import extremes
from fmsel.report.figure import TEXT_SIZE, set_heading

BETWEEN = 0.5  # cells between the two halves
GAP = 0.12  # white between images, as a share of their side
MIN_SIDE = 64  # pixels an image is enlarged to before matplotlib resamples it


def gallery_picks(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], n_classes: int, k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the k most and the k least prototypical images of each class.

    Args:
        scores: (N,), higher = more prototypical.
        labels: (N,), in [0, C) or -1 for unknown (never picked).
    Returns:
        two (C, k) int64 arrays; in both the most extreme image comes first.
    Raises:
        DataError: a class has fewer than 2 k images.
    """
    for label in range(n_classes):
        if (count := int((labels == label).sum())) < 2 * k:
            raise DataError(
                f"class {label} has {count} images, but a gallery of {k} prototypes and "
                f"{k} outliers needs {2 * k}; show fewer"
            )
    ends = extremes(scores, labels, k)
    most, least = zip(*(ends[label] for label in range(n_classes)), strict=True)
    return np.stack(most), np.stack(least)


def draw_gallery(
    figure: FigureBase, data: ImageDataset, scores: npt.NDArray[np.float64], note: str, k: int = 5
) -> None:
    """Draw one row a class: k most prototypical images on the left, k least on the right.

    Args:
        scores: (N,), higher = more prototypical.
        note: the line below the title: what ranked the images. That the picture is an oracle, as it
            shows the classes apart, is added to it.
    Raises:
        DataError: as `gallery_picks`.
    """
    most, least = gallery_picks(scores, data.labels, data.n_classes, k)
    axes = figure.subplots()
    _show(axes, data.images[most], 0, "most prototypical")
    _show(axes, data.images[least], k + BETWEEN, "least prototypical")
    axes.set(xlim=(0, 2 * k + BETWEEN), ylim=(data.n_classes, 0), xticks=[], anchor="NW")
    axes.set_yticks(np.arange(data.n_classes) + 0.5, data.class_names, fontsize=TEXT_SIZE)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    set_heading(
        axes,
        f"The extremes of every class of {data.name}",
        f"{note}; oracle: reads every label",
        above=26,
    )


def _show(axes: Axes, images: npt.NDArray[np.uint8], start: float, heading: str) -> None:
    """Show (C, k, H, W, 3) images in cells of side 1 from x = `start`; row 0 is at the top."""
    rows, columns = images.shape[:2]
    axes.imshow(_mosaic(images), extent=(start, start + columns, rows, 0))
    axes.annotate(
        heading,
        xy=(start, 0),
        xytext=(2, 5),
        textcoords="offset points",
        fontsize=TEXT_SIZE,
    )


def _mosaic(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(C, k, H, W, 3) -> one (C * side, k * side, 3) picture, white between the images.

    Pixels are repeated, not smoothed: an 8x8 digit is to be seen as the network sees it.
    """
    scale = max(1, -(-MIN_SIDE // images.shape[2]))
    large = images.repeat(scale, axis=2).repeat(scale, axis=3)
    pad = round(GAP * large.shape[2] / 2)
    sides = ((0, 0), (0, 0), (pad, pad), (pad, pad), (0, 0))
    framed = np.pad(large, sides, constant_values=255)
    rows, columns, height, width, _ = framed.shape
    return framed.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
