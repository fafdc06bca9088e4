"""The galleries: prototypes and outliers of every class, by each scores file."""

from collections.abc import Sequence
from pathlib import Path

from fmsel.datasets import ImageDataset
from fmsel.metrics.scores import Scores
from fmsel.report.gallery import Ranking, gallery_figure, gallery_rows, rankings
from fmsel.report.gallery import Row as Ends
from fmsel.report.story.material import Material
from fmsel.report.story.plot import Plot, slug
from fmsel.report.story.section import Block, Missing, Notes, Row, Section, Shelf, Tile
from fmsel.report.story.tiles import image_name, shown_side, tile_uri

EACH = 5  # images of either end
MOST = 600  # tiles of all galleries together
CLASSES = 60  # rows of one gallery


def room_of_galleries(material: Material) -> int:
    """How many tiles the galleries take."""
    return sum(
        len(row.outliers) + len(row.prototypes)
        for data, ranking in _ranked(material).values()
        for row in _shown(data, ranking, len(material.scores))
    )


def galleries(material: Material) -> Section | Missing | None:
    """A shelf for each scores file, and the picture of it among the page's figures."""
    if not material.scores:
        return Missing(
            title="Galleries",
            reason="name a scores file too (`fmsel score`), for the prototypes and outliers of "
            "every class",
        )
    ranked = _ranked(material)
    if not ranked:
        return Missing(title="Galleries", reason=" ".join(material.absent))
    blocks: list[Block] = [
        block
        for path, (data, ranking) in ranked.items()
        for block in _gallery(path, data, ranking, len(material.scores))
    ]
    return Section(
        name="galleries",
        title="Prototypes and outliers",
        lead="Both ends of every class: the least prototypical images first, the most "
        "prototypical last.",
        blocks=blocks,
    )


def gallery_plots(material: Material) -> list[Plot]:
    """The same as figures, for the folder of figures alone."""
    ranked = _ranked(material)
    return [
        Plot(
            name=f"gallery{number if len(ranked) > 1 else ''}-{slug(path.stem)}",
            figure=gallery_figure(data, [ranking], EACH),
            title=f"The ends of every class of {data.name}",
            description=f"Ranked by {ranking.name}; {ranking.reads}.",
        )
        for number, (path, (data, ranking)) in enumerate(ranked.items(), 1)
    ]


def _ranked(material: Material) -> dict[Path, tuple[ImageDataset, Ranking]]:
    """The scores whose images are at hand, with the ranking that splits use."""
    return {
        path: (data, _ranking(scores, data))
        for path, scores in material.scores.items()
        if (data := material.data(scores.dataset["images_sha256"])) is not None
    }


def _ranking(scores: Scores, data: ImageDataset) -> Ranking:
    return rankings(scores, data.labels)[0]


def _shown(data: ImageDataset, ranking: Ranking, files: int) -> Sequence[Ends]:
    rows = gallery_rows(data, ranking.scores, EACH)
    return rows[: min(CLASSES, MOST // (2 * EACH * files))]


def _gallery(path: Path, data: ImageDataset, ranking: Ranking, files: int) -> list[Block]:
    rows = _shown(data, ranking, files)
    shelf = Shelf(
        title=f"{path}, ranked by {ranking.name}",
        note=f"{ranking.reads}; under each image its index and its rank in the class (1 = the most "
        "prototypical)",
        rows=[
            Row(
                name=row.name,
                note=f"{row.count:,} images",
                tiles=[_tile(data, row, int(index)) for index in row.outliers],
                more=[_tile(data, row, int(index)) for index in row.prototypes],
            )
            for row in rows
        ],
        unfolded=True,
    )
    total = len(gallery_rows(data, ranking.scores, 1))
    if len(rows) == total:
        return [shelf]
    return [
        shelf,
        Notes(
            texts=[
                f"The first {len(rows)} of {total} classes are shown; `fmsel gallery {path}` and "
                "`fmsel report --serve` show all."
            ]
        ),
    ]


def _tile(data: ImageDataset, row: Ends, index: int) -> Tile:
    name, rank = image_name(data, index), f"rank {row.ranks[index]:,}"
    return Tile(
        anchor="",
        uri=tile_uri(data.images[index]),
        side=shown_side(data),
        alt=f"image {name}, {row.name}, {rank} of {row.count:,}",
        title=name,
        lines=[rank],
    )
