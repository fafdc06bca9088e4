"""What the page says of images, as JSON-able values."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.report.gallery import READS
from fmsel.report.served.collection import Collection
from fmsel.report.served.query import Query, matching
from fmsel.report.served.sheets import COLUMNS, MOST, thumbnail_size
from fmsel.selection.split import Split

PAGE = 200  # images


def about(collection: Collection) -> dict[str, Any]:
    """All that the page must know before it shows an image."""
    data = collection.data
    height, width = thumbnail_size(data)
    return {
        "name": data.name,
        "n": len(data),
        "version": collection.version,
        "thumbnail": {"height": height, "width": width, "columns": COLUMNS, "most": MOST},
        "classes": _classes(collection),
        "unknown": int((data.labels < 0).sum()),
        "metrics": _metrics(collection),
        "splits": [_split(name, split) for name, split in collection.splits.items()],
        "predicted": list(collection.predicted),
        "map": None if collection.positions is None else {"told": collection.positions.told},
        "no_map": collection.no_map,
    }


def _classes(collection: Collection) -> list[dict[str, Any]]:
    labels = collection.data.labels
    counts = np.bincount(labels[labels >= 0], minlength=collection.data.n_classes)
    return [
        {"name": name, "count": int(count)}
        for name, count in zip(collection.data.class_names, counts, strict=True)
    ]


def _metrics(collection: Collection) -> list[dict[str, str]]:
    if collection.scores is None:
        return []
    uses = {name: record.label_use for name, record in collection.scores.records.items()}
    return [{"name": name, "reads": READS[uses[name]]} for name in collection.metrics]


def _split(name: str, split: Split) -> dict[str, Any]:
    return {
        "name": name,
        "count": len(split),
        "strategy": split.strategy,
        "oracle": split.oracle,
        "labelled_by_people": split.labels is not None,
    }


def page_of(
    collection: Collection, query: Query, page: int = 1, at: int | None = None
) -> dict[str, Any]:
    """One page of a gallery.

    Args:
        page: from 1; beyond the last means the last.
        at: the index of an image whose page is wanted instead; where the query leaves it out,
            `page` counts.
    """
    found = matching(collection, query)
    pages = max(1, -(-len(found) // PAGE))
    if at is not None and len(place := np.flatnonzero(found == at)):
        page = int(place[0]) // PAGE + 1
    page = min(page, pages)
    shown = found[(page - 1) * PAGE : page * PAGE]
    return {
        "total": len(found),
        "page": page,
        "pages": pages,
        "first": (page - 1) * PAGE + 1,
        "images": _tiles(collection, query, shown),
    }


def _tiles(
    collection: Collection, query: Query, shown: npt.NDArray[np.int64]
) -> list[dict[str, Any]]:
    data = collection.data
    shares = None
    if query.metric:
        shares = collection.percentiles(query.metric, query.within == "class")
    places = {name: collection.places(name) for name in collection.splits}
    return [
        {
            "index": int(index),
            "id": str(data.ids[index]),
            "class": _name(collection, int(data.labels[index])),
            "percentile": None if shares is None else _percent(shares[index]),
            "splits": [name for name, place in places.items() if place[index] >= 0],
        }
        for index in shown
    ]


def facts(collection: Collection, index: int) -> dict[str, Any]:
    """All that is known of one image."""
    data = collection.data
    return {
        "index": index,
        "id": str(data.ids[index]),
        "class": _name(collection, int(data.labels[index])),
        "splits": [_chosen(collection, name, index) for name in _splits_of(collection, index)],
        "predicted": {
            run: _name(collection, int(each[index])) for run, each in collection.predicted.items()
        },
        "scores": [_score(collection, name, index) for name in collection.metrics],
    }


def _splits_of(collection: Collection, index: int) -> list[str]:
    return [name for name in collection.splits if collection.places(name)[index] >= 0]


def _chosen(collection: Collection, name: str, index: int) -> dict[str, Any]:
    split, place = collection.split(name), int(collection.places(name)[index])
    labelled: Mapping[str, Any] = {}
    if split.labels is not None:  # by people, who may not have come to this one yet
        labelled = {"labelled": _name(collection, split.labels[place])}
    return {"name": name, "place": place + 1, "of": len(split), **labelled}


def _score(collection: Collection, metric: str, index: int) -> dict[str, Any]:
    assert collection.scores is not None  # it has metrics
    return {
        "name": metric,
        "score": float(f"{collection.scores.arrays[metric][index]:.4g}"),
        "percentile": _percent(collection.percentiles(metric, within=False)[index]),
        "within": _percent(collection.percentiles(metric, within=True)[index]),
    }


def _name(collection: Collection, label: int) -> str | None:
    return collection.data.class_names[label] if label >= 0 else None


def _percent(share: np.floating[Any]) -> float:
    return round(100 * float(share), 2)
