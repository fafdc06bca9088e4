"""The gallery as a self-contained page: index, label, rank and score under each image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from fmsel.artefacts import check_output, write_text
from fmsel.datasets import ImageDataset
from fmsel.report.figure import write_figure
from fmsel.report.gallery import Ranking, Row, gallery_figure, gallery_rows, thumbnail
from fmsel.report.page import image_uri, render

MIN_SHOWN = 64  # pixels that an image is shown at, at least
PAGE_PIXELS = 8_000_000  # of all thumbnails of a page: some 30 MB at most
SMALLEST = 2048  # pixels that an image counts as at least: a page has a few thousand of them


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One image and what is written under it."""

    uri: Markup
    side: int  # pixels
    index: str
    label: str
    rank: str
    score: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One class in one ranking: tiles from the less to the more prototypical."""

    outliers: Sequence[Tile]
    prototypes: Sequence[Tile]


def write_gallery(
    data: ImageDataset, ranked: Sequence[Ranking], stem: Path, k: int, force: bool = False
) -> list[Path]:
    """Write `<stem>.png` and `<stem>.html`; classes that are too many go on in `<stem>-2.html`.

    Raises:
        OutputError: as `fmsel.artefacts.check_output`, before anything is written.
    """
    texts = gallery_pages(data, ranked, k, stem.name)
    picture = stem.with_name(f"{stem.name}.png")
    pages = {stem.with_name(name): text for name, text in texts.items()}
    for path in (picture, *pages):
        check_output(path, force)
    write_figure(gallery_figure(data, ranked, k), picture, force)
    for path, text in pages.items():
        write_text(path, text, force)
    return [picture, *pages]


def gallery_pages(
    data: ImageDataset, ranked: Sequence[Ranking], k: int, stem: str
) -> dict[str, str]:
    """File name -> page; a row a class, the rankings side by side, as many rows as a page bears."""
    by_ranking = [gallery_rows(data, each.scores, k) for each in ranked]
    classes = list(zip(*by_ranking, strict=True))
    height, width, _ = thumbnail(data.images[0]).shape
    pixels = 2 * k * len(ranked) * max(height * width, SMALLEST)
    each = max(1, PAGE_PIXELS // pixels)
    starts = range(0, len(classes), each)
    names = [f"{stem}.html" if not i else f"{stem}-{i + 1}.html" for i in range(len(starts))]
    return {
        name: render(
            "gallery.html",
            title=f"The ends of every class of {data.name}",
            rankings=ranked,
            k=k,
            published=list(dict.fromkeys(said for one in ranked for said in one.published)),
            classes=[_class(data, ranked, rows) for rows in classes[start : start + each]],
            first=start + 1,
            total=len(classes),
            pages=names,
            this=name,
        )
        for name, start in zip(names, starts, strict=True)
    }


def _class(
    data: ImageDataset, ranked: Sequence[Ranking], rows: Sequence[Row]
) -> tuple[str, int, list[Cell]]:
    cells = [
        Cell(
            outliers=_tiles(data, ranking, row, row.outliers),
            prototypes=_tiles(data, ranking, row, row.prototypes),
        )
        for ranking, row in zip(ranked, rows, strict=True)
    ]
    return rows[0].name, rows[0].count, cells


def _tiles(
    data: ImageDataset, ranking: Ranking, row: Row, indices: npt.NDArray[np.int64]
) -> list[Tile]:
    return [_tile(data, ranking, row, int(index)) for index in indices]


def _tile(data: ImageDataset, ranking: Ranking, row: Row, index: int) -> Tile:
    pixels, name, label = thumbnail(data.images[index]), str(data.ids[index]), data.labels[index]
    return Tile(
        uri=image_uri(pixels),
        side=max(MIN_SHOWN, *pixels.shape[:2]),
        index=str(index) if name == str(index) else f"{index} ({name})",
        label=data.class_names[label] if label >= 0 else "no label",
        rank=f"{row.ranks[index]:,} of {row.count:,}",
        score=_number(float(ranking.scores[index])),
    )


def _number(score: float) -> str:
    """Four digits, or all before the point: published ranks differ in the last."""
    return f"{score:.4g}" if abs(score) < 10_000 else f"{score:,.0f}"
