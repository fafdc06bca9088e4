"""What every picture shares: its colours, its type sizes, and how it is written."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fmsel.artefacts import atomic_path

PIXELS_PER_INCH = 150
MARGIN = 0.12  # inches around and between plots
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 14, 11, 10  # points
SOFT = "#555555"  # subtitles, ticks
BASELINE_COLOUR = "#666666"
# Okabe and Ito (2008), "Color Universal Design": told apart with any form of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that keeps its parts from overlapping."""
    layout = ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=MARGIN)
    return Figure(figsize=(width, height), layout=layout)


def write_figure(figure: Figure, path: Path, force: bool = False) -> None:
    """Write the figure as a PNG on white, atomically.

    Raises:
        OutputError: as `fmsel.artefacts.atomic_path`.
    """
    with atomic_path(path, force) as temporary:
        figure.savefig(temporary, format="png", dpi=PIXELS_PER_INCH, facecolor="white")


def plain(text: str) -> str:
    """A name as it is: dollars are no mathematics, an underscore hides none from a legend."""
    return " " * text.startswith("_") + text.replace("$", r"\$")


def set_heading(axes: Axes, title: str, subtitle: str, above: float = 8) -> None:
    """A bold title over a line of conditions, both flush left, `above` points over the plot."""
    axes.set_title(plain(title), loc="left", fontsize=TITLE_SIZE, fontweight="bold", pad=above + 16)
    axes.annotate(
        plain(subtitle),
        xy=(0, 1),
        xytext=(0, above),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=SMALL_SIZE,
        color=SOFT,
        va="bottom",
    )


def clean_axes(axes: Axes) -> None:
    """Only the frame lines that carry a scale, and quiet horizontal guides."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#bbbbbb")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=SOFT, labelsize=SMALL_SIZE)
