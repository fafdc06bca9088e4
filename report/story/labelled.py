"""The images that got a label: every choice, by class, as thumbnails with their index."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.report.split import label_use
from fmsel.report.story.material import Chosen, Material
from fmsel.report.story.section import Block, Missing, Notes, Row, Section, Shelf, Tile
from fmsel.report.story.tiles import MOST, image_name, shown_side, tile_uri

UNFOLDED = 2  # ways of choosing whose first choice is open from the start

IntArray = npt.NDArray[np.int64]
Shown = Mapping[str, IntArray]  # key of a choice -> the images of it that have a tile


def shown_images(material: Material, room: int = MOST) -> Shown:
    """Which images of each choice get a tile: all, or the first of each class where they are many.

    Args:
        room: tiles for all choices together.
    """
    there = [each for each in material.chosen if material.data(each.split.images_sha256)]
    if sum(len(each.split) for each in there) <= room:
        return {each.key: each.split.index_array for each in there}
    share = room // max(len(there), 1)
    return {each.key: _first_of_each(each, _data(material, each), share) for each in there}


def anchor(chosen: Chosen, index: int) -> str:
    """The id of a tile on the page."""
    return f"t-{chosen.key}-{index}"


def labelled(material: Material, shown: Shown) -> Section | Missing | None:
    """A shelf for each choice; None where there is none."""
    if not material.chosen:
        return None
    if not shown:
        return Missing(title="Labelled images", reason=" ".join(material.absent))
    blocks: list[Block] = []
    total = sum(len(each.split) for each in material.chosen if each.key in shown)
    if (count := sum(map(len, shown.values()))) < total:
        blocks.append(
            Notes(
                texts=[
                    f"The choices hold {total:,} images; a page bears {MOST:,}, so the first of "
                    f"each class in the order of the choice are shown, {count:,} in all. `fmsel "
                    "report --serve` shows every one."
                ]
            )
        )
    there = [each for each in material.chosen if each.key in shown]
    first = {each.base: each.key for each in reversed(there)}
    unfolded = [first[base] for base in dict.fromkeys(each.base for each in there)][:UNFOLDED]
    blocks += [
        _shelf(each, _data(material, each), shown[each.key], each.key in unfolded) for each in there
    ]
    if material.absent:
        blocks.append(Notes(texts=material.absent))
    return Section(
        name="labelled",
        title="Labelled images",
        lead="The images of every choice by the label that training read, in the order of the "
        "choice, each with its index in the data set.",
        blocks=blocks,
    )


def _data(material: Material, chosen: Chosen) -> ImageDataset:
    data = material.data(chosen.split.images_sha256)
    assert data is not None  # only choices whose images are at hand are shown
    return data


def _first_of_each(chosen: Chosen, data: ImageDataset, most: int) -> IntArray:
    """Up to `most` images, equally many of each class as far as there are, in pick order."""
    labels = chosen.split.given_labels(data)
    turn = np.zeros(len(labels), dtype=np.int64)  # how many of its class come before it
    for label in np.unique(labels):
        own = labels == label
        turn[own] = np.arange(own.sum())
    kept = np.sort(np.argsort(turn, kind="stable")[:most])
    return np.asarray(chosen.split.index_array[kept])


def _shelf(chosen: Chosen, data: ImageDataset, shown: IntArray, unfolded: bool) -> Shelf:
    split = chosen.split
    whose = "people's labels" if split.labels is not None else "labels of the data set"
    facts = [
        f"{len(split):,} images"
        if len(shown) == len(split)
        else f"{len(shown):,} of {len(split):,}",
        whose,
        f"choice reads labels: {label_use(split)}",
    ]
    if chosen.used_by:
        facts.append(f"trained: {', '.join(chosen.used_by)}")
    return Shelf(
        title=chosen.name,
        note="; ".join(facts),
        rows=list(_rows(chosen, data, shown)),
        unfolded=unfolded,
    )


def _rows(chosen: Chosen, data: ImageDataset, shown: IntArray) -> Iterator[Row]:
    split = chosen.split
    labels = dict(zip(split.indices, split.given_labels(data).tolist(), strict=True))
    for label in [*range(data.n_classes), -1]:
        own = [int(index) for index in shown if labels[int(index)] == label]
        total = sum(each == label for each in labels.values())
        if own:
            yield Row(
                name=data.class_names[label] if label >= 0 else "no label",
                note=f"{total:,}" if len(own) == total else f"{len(own):,} of {total:,}",
                tiles=[_tile(chosen, data, index, label) for index in own],
            )


def _tile(chosen: Chosen, data: ImageDataset, index: int, label: int) -> Tile:
    truth, name = int(data.labels[index]), image_name(data, index)
    said = data.class_names[label] if label >= 0 else "no label"
    differs = chosen.split.labels is not None and label >= 0 and truth not in (label, -1)
    lines = [f"data set: {data.class_names[truth]}"] if differs else []
    return Tile(
        anchor=anchor(chosen, index),
        uri=tile_uri(data.images[index]),
        side=shown_side(data),
        alt=f"image {name}, {said}" + "".join(f", {line}" for line in lines),
        title=name,
        lines=lines,
        marked=differs,
    )
