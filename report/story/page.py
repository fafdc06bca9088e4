"""The whole page, and its figures as files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fmsel.artefacts import check_output, write_text
from fmsel.report.figure import write_figure
from fmsel.report.page import render
from fmsel.report.story.confusion import confusion
from fmsel.report.story.curves import pseudo_labels, training
from fmsel.report.story.embedding import embedding_map
from fmsel.report.story.ends import galleries, gallery_plots, room_of_galleries
from fmsel.report.story.labelled import labelled, shown_images
from fmsel.report.story.material import Material
from fmsel.report.story.origins import origins
from fmsel.report.story.plot import Plot
from fmsel.report.story.results import results, verdicts
from fmsel.report.story.rounds import rounds
from fmsel.report.story.section import Missing, Section, Shelf
from fmsel.report.story.tiles import MOST

FIGURES = (".png", ".svg")


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page that is ready to be written.

    Attributes:
        text: HTML.
        plots: all figures, those that stand in no section as SVG included.
        tiles: thumbnails on it.
    """

    text: str
    plots: Sequence[Plot]
    tiles: int


def make_page(material: Material, *, question: str | None = None, title: str | None = None) -> Page:
    """Make every section that there is something for.

    Args:
        question: what the page is to answer; None = asked by what was named.
        title: of the page; None = names the data sets.
    """
    shown = shown_images(material, MOST - room_of_galleries(material))
    made = [
        results(material),
        training(material),
        pseudo_labels(material),
        confusion(material),
        rounds(material),
        labelled(material, shown),
        galleries(material),
        embedding_map(material, shown),
        origins(material),
    ]
    sections = [each for each in made if isinstance(each, Section)]
    text = render(
        "story.html",
        title=title or f"Which images to label: {', '.join(_datasets(material))}",
        question=question or _question(material),
        verdicts=verdicts(material),
        sections=sections,
        missing=[each for each in made if isinstance(each, Missing)],
    )
    plots = [plot for each in sections for plot in each.plots]
    return Page(
        text=text, plots=[*plots, *gallery_plots(material)], tiles=sum(map(_tiles, sections))
    )


def _tiles(section: Section) -> int:
    shelves = (each for each in section.blocks if isinstance(each, Shelf))
    return sum(len(row.tiles) + len(row.more) for shelf in shelves for row in shelf.rows)


def _datasets(material: Material) -> list[str]:
    names = [each.split.dataset for each in material.chosen]
    names += [str(each.dataset["dataset"]) for each in material.scores.values()]
    names += [str(each.record["dataset"]["dataset"]) for each in material.loops]
    return list(dict.fromkeys(names))


def _either(words: Iterable[str]) -> str:
    """ "a", "a or b", "a, b or c"; of one word or more."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _question(material: Material) -> str:
    apart = [each.base for each in material.chosen if not each.of_loop]
    names = list(dict.fromkeys(apart or [each.base for each in material.chosen]))
    if len(names) > 1:
        sizes = sorted({len(each.split) for each in material.chosen})
        count = _either(f"{size:,}" for size in sizes) if len(sizes) < 4 else "few"
        return f"Which {count} images should get a label: {_either(names)}?"
    if material.chosen:
        return f"Which images did {material.chosen[0].base} choose to label?"
    return "Which images are typical of their class, and which are not?"


def check_report(out: Path, figures: Path, force: bool) -> None:
    """Refuse now what `write_report` could not write.

    Raises:
        OutputError: the page exists, the folder holds figures, or one of them cannot be written to.
    """
    check_output(out, force)
    if figures.exists() and not figures.is_dir():
        check_output(figures)
    there = [each for each in sorted(figures.glob("*")) if each.suffix in FIGURES]
    check_output(next(iter(there), figures / "any.png"), force)


def write_report(page: Page, out: Path, figures: Path, force: bool = False) -> None:
    """Write the page, and every figure as PNG and SVG into the folder `figures`.

    Raises:
        OutputError: a file exists and `force` is false, or cannot be written.
    """
    paths = {plot.name: figures / plot.name for plot in page.plots}
    for stem in paths.values():
        for suffix in FIGURES:
            check_output(stem.with_name(stem.name + suffix), force)
    for plot in page.plots:
        stem = paths[plot.name]
        write_figure(plot.figure, stem.with_name(f"{stem.name}.png"), force)
        write_text(stem.with_name(f"{stem.name}.svg"), plot.alone, force)
    write_text(out, page.text, force)
