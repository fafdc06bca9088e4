"""`serve_images`: from the artefacts of a report to a page that is served until it is stopped."""

import json
import socket
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.errors import DataError, OptionError
from fmsel.fixmatch.run.record import OUTPUTS
from fmsel.metrics.scores import MetricRecord, Scores
from fmsel.report.served.app import image_app
from fmsel.report.served.collection import Collection
from fmsel.report.served.placing import map_path, positions_by
from fmsel.report.served.positions import Positions
from fmsel.report.story.material import Chosen, Material
from fmsel.serving import Access, serve


def serve_images(
    collection: Collection,
    listener: socket.socket,
    access: Access,
    *,
    open_page: bool = False,
) -> None:
    """Serve a collection until Ctrl-C or a signal.

    Args:
        listener, access: from `fmsel.serving.listen`.
        open_page: in the person's browser.
    """
    app = image_app(collection, access)
    serve(app, listener, open_at=access.url if open_page else None)


def collection_of(material: Material) -> Collection:
    """All that the artefacts say of the images of their one data set.

    Raises:
        ArtefactError: scores or a split that do not belong to the images.
        DataError: the images are not at hand.
        OptionError: artefacts of several data sets.
    """
    data = _only_data(material)
    chosen = [each for each in material.chosen if each.split.images_sha256 == data.images_sha256]
    for each in chosen:
        each.split.check(data, str(each.path))
    positions, no_map = _positions(material, data)
    return Collection(
        data=data,
        scores=_together(material.scores, data),
        splits={name: each.split for name, each in zip(_names(chosen), chosen, strict=True)},
        predicted=kept_predictions([each.path for each in material.runs], data),
        positions=positions,
        no_map=no_map,
    )


def _only_data(material: Material) -> ImageDataset:
    if material.absent:
        raise DataError(" ".join(material.absent))
    found = [each for each in material.images.values() if isinstance(each, ImageDataset)]
    if len(found) != 1:
        names = " and of ".join(each.name for each in found) or "no data set"
        raise OptionError(
            f"--serve shows the images of one data set, but these artefacts are of {names}; name "
            "those of one"
        )
    return found[0]


def _names(chosen: list[Chosen]) -> list[str]:
    """A name for each choice, told apart by its key where two are called the same."""
    names = [each.name for each in chosen]
    return [
        f"{each.name} ({each.key})" if names.count(each.name) > 1 else each.name for each in chosen
    ]


def _together(files: Mapping[Path, Scores], data: ImageDataset) -> Scores | None:
    """The metrics of all scores files; one that several hold bears its file's name."""
    arrays: dict[str, npt.NDArray[np.float32]] = {}
    records: dict[str, MetricRecord] = {}
    for path, scores in files.items():
        scores.check(data, str(path))
        for metric, array in scores.arrays.items():
            name = f"{path.stem}: {metric}" if metric in arrays else metric
            arrays[name], records[name] = array, scores.records[metric]
    return Scores(dataset=data.describe(), arrays=arrays, records=records) if arrays else None


def _positions(material: Material, data: ImageDataset) -> tuple[Positions | None, str]:
    """Where the images lie on the map, or the sentence on why there is none."""
    found = material.embeddings(data)
    if isinstance(found, str):
        return None, f"There is no map: {found}"
    path, embeddings = found
    kept = map_path(path)
    if not kept.exists():
        material.say(f"placing {len(data):,} images on a map, minutes for many; kept in {kept}")
    return positions_by(embeddings, kept), ""


def kept_predictions(runs: list[Path], data: ImageDataset) -> dict[str, npt.NDArray[np.int64]]:
    """What the networks of those runs say whose outputs for these images are kept."""
    found = {}
    for run in runs:
        try:
            with np.load(run / OUTPUTS, allow_pickle=False) as file:
                header, probabilities = json.loads(str(file["header"])), file["probabilities"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            continue
        shape = (len(data), data.n_classes)
        if header.get("images_sha256") == data.images_sha256 and probabilities.shape == shape:
            found[str(run)] = probabilities.argmax(axis=1).astype(np.int64)
    return found
