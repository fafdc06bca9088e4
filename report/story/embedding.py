"""A map of the images in two dimensions with the chosen ones marked, each linked to its tile."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmsel.datasets import ImageDataset
from fmsel.embeddings.vectors.map import OTHERS, ImageMap, image_map
from fmsel.report.figure import SMALL_SIZE, new_figure, plain, set_heading
from fmsel.report.story.labelled import Shown, anchor
from fmsel.report.story.looks import Look
from fmsel.report.story.material import Chosen, Material
from fmsel.report.story.plot import PAPER, Plot
from fmsel.report.story.section import Block, Heading, Missing, Notes, Plots, Section

WIDTH, HEIGHT, LINE = 7.2, 6.0, 0.19  # inches, and those of a line of the legend
GREY = "#8a8a8a"  # of the others, seen on light and on dark paper


def embedding_map(material: Material, shown: Shown) -> Section | Missing | None:
    """A map for each data set; None where no images were chosen.

    Args:
        shown: the images of each choice that have a tile to link to.
    """
    if not material.chosen:
        return None
    blocks: list[Block] = []
    reasons = list(material.absent)
    sets = [data for data in material.images.values() if not isinstance(data, str)]
    for number, data in enumerate(sets, 1):
        chosen = [c for c in material.chosen if c.split.images_sha256 == data.images_sha256]
        found = material.vectors.get(data.images_sha256, "")
        if isinstance(found, str):
            reasons += [found] if found else []
            continue
        path, embeddings = found
        wanted = np.unique(np.concatenate([each.split.index_array for each in chosen]))
        material.say(f"placing {data.name} on a map by {path}")
        made = image_map(embeddings.features, wanted, others=OTHERS)
        name = "map" if len(sets) == 1 else f"map{number}"
        if len(sets) > 1:
            blocks.append(Heading(text=data.name))
        plot = _plot(name, data, made, chosen, material.looks, shown, str(path))
        blocks.append(Plots(plots=[plot]))
        blocks.append(Notes(texts=_notes(made, len(wanted), len(data), embeddings.uses_labels)))
    if not blocks:
        return Missing(title="Map", reason=" ".join(dict.fromkeys(reasons)))
    if reasons:
        blocks.append(Notes(texts=[f"No map: {each}" for each in dict.fromkeys(reasons)]))
    return Section(
        name="map",
        title="Map of the images",
        lead="Where the chosen images lie among the others, by an embedding; a mark leads to its "
        "image above.",
        blocks=blocks,
    )


def _notes(made: ImageMap, wanted: int, total: int, uses_labels: bool) -> list[str]:
    others, late = len(made.indices) - wanted, int((~made.placed).sum())
    said = [
        f"{made.method}: all {wanted:,} chosen images and {others:,} others drawn at random, of "
        f"{total:,}. Only who is near whom means something; directions, distances between groups "
        "and their sizes do not."
    ]
    if late:
        said.append(
            f"{late:,} of the chosen were placed at the mean of their nearest neighbours on the "
            "map, weighted by the inverse of the distance."
        )
    if made.trustworthiness is not None:
        said.append(
            f"Trustworthiness {made.trustworthiness:.3f}: 1 = the nearest 5 on the map are near "
            "ones in the embedding too; about 0.5 = chance."
        )
    if uses_labels:
        said.append("The embedding learned from labels of this data set: an oracle.")
    return said


def _plot(
    name: str,
    data: ImageDataset,
    made: ImageMap,
    chosen: Sequence[Chosen],
    styles: Mapping[str, Look],
    shown: Shown,
    source: str,
) -> Plot:
    styles = {each.base: styles[each.base] for each in chosen}
    links = {
        f"#{anchor(each, index)}": f"image {index}, chosen by {each.name}"
        for each in chosen
        for index in shown.get(each.key, np.empty(0, dtype=np.int64)).tolist()
    }
    return Plot(
        name=name,
        figure=_figure(data, made, chosen, styles, links, source),
        title=f"Map of {data.name} with the chosen images marked",
        description="Grey dots: images drawn at random; marks: the chosen images, a colour and a "
        f"shape for each way of choosing: {', '.join(styles)}.",
        links=links,
    )


def _figure(
    data: ImageDataset,
    made: ImageMap,
    chosen: Sequence[Chosen],
    styles: Mapping[str, Look],
    links: Mapping[str, str],
    source: str,
) -> Figure:
    figure = new_figure(WIDTH, HEIGHT + LINE * len(styles))
    axes = figure.subplots()
    others = np.setdiff1d(made.indices, np.concatenate([each.split.index_array for each in chosen]))
    x, y = made.at(others).T
    axes.scatter(x, y, s=4, color=GREY, alpha=0.55, lw=0)
    for each in chosen:
        _mark(axes, made, each, styles[each.base], links)
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    for name, look in styles.items():
        axes.plot([], [], look.marker, color=look.colour, markeredgecolor=PAPER, label=plain(name))
    figure.legend(loc="outside lower left", frameon=False, fontsize=SMALL_SIZE, ncols=2)
    set_heading(axes, f"{data.name} by {source}", made.method)
    return figure


def _mark(axes: Axes, made: ImageMap, chosen: Chosen, look: Look, links: Mapping[str, str]) -> None:
    indices = chosen.split.index_array
    x, y = made.at(indices).T
    marks = axes.scatter(
        x,
        y,
        s=60,
        color=look.colour,
        marker=look.marker,
        edgecolors=PAPER,
        linewidths=0.9,
    )
    targets = [f"#{anchor(chosen, index)}" for index in indices.tolist()]
    marks.set_urls([target if target in links else None for target in targets])
