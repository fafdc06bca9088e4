"""Label images with a run's network; a CSV of classes and probabilities."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import numpy.typing as npt
import torch

from fmsel.artefacts import atomic_path
from fmsel.datasets.images.decode import decode
from fmsel.datasets.images.files import ImageFile, list_folders, list_images
from fmsel.errors import DataError
from fmsel.fixmatch.run.evaluate import BATCH
from fmsel.fixmatch.run.record import SPLIT
from fmsel.fixmatch.use.weights import Classifier, Trained, run_dataset
from fmsel.progress import progress_bar
from fmsel.selection.split import Split
from fmsel.training.engine.device import Precision, autocast


class Images(NamedTuple):
    """Images to label."""

    pixels: npt.NDArray[np.uint8]  # (N, S, S, 3)
    ids: Sequence[str]  # N


def unlabelled_images(run: Path, *, data_root: Path | None = None, offline: bool = False) -> Images:
    """The images of a run's data set that nobody has labelled; ids as in the data set.

    Those that the run learned from are left out, though only its split has their labels.

    Args:
        run: the run folder.
        data_root, offline: as for `load_dataset`.
    Raises:
        DataError: every image has a label, or the data set cannot be loaded.
        ArtefactError: a broken run, or the images found are not those of the run.
    """
    data = run_dataset(run, data_root=data_root, offline=offline)
    split = Split.load(run / SPLIT)
    known = data.labels >= 0
    known[split.index_array] |= split.given_labels(data) >= 0
    if known.all():
        raise DataError(
            f"all {len(data)} images that {run} was trained on have a label in {data.name}; "
            f"name a folder of new images: fmsel predict {run} PATH"
        )
    rows = np.flatnonzero(~known)
    return Images(data.images[rows], data.ids[rows].tolist())


def folder_images(folder: Path, side: int) -> Images:
    """All images in a folder and the folders in it; ids are paths relative to it.

    Args:
        folder: its images may have any size and any mode that data sets may have.
        side: other sizes are cropped and resized to this many pixels, as `--resize` does.
    Raises:
        DataError: no such folder, no images in it, or images that cannot be decoded.
    """
    files = list(_walk(folder, ""))
    if not files:
        raise DataError(f"{folder} holds no images; name a folder of images")
    return Images(decode(folder, files, side, folder.resolve().name), [f.path for f in files])


def _walk(root: Path, below: str) -> Iterator[ImageFile]:
    folders = list_folders(root / below)
    yield from list_images(root, below)
    for name in folders:
        yield from _walk(root, f"{below}/{name}" if below else name)


@torch.inference_mode()
def predict(
    trained: Trained, pixels: npt.NDArray[np.uint8], precision: Precision = "fp32"
) -> npt.NDArray[np.float32]:
    """Class probabilities, (N, C), on the device of the network.

    Args:
        trained: the run's network.
        pixels: (N, S, S, 3), S the network's image side.
        precision: of the convolutions.
    """
    device = next(trained.network.parameters()).device
    classifier = Classifier(trained.network)
    probabilities = np.empty((len(pixels), len(trained.class_names)), dtype=np.float32)
    with progress_bar("labelling", len(pixels)) as advance, autocast(device, precision):
        for start in range(0, len(pixels), BATCH):
            batch = torch.tensor(pixels[start : start + BATCH], device=device)
            probabilities[start : start + BATCH] = classifier(batch).cpu().numpy()
            advance(len(batch))
    return probabilities


def write_predictions(
    path: Path,
    ids: Sequence[str],
    class_names: Sequence[str],
    probabilities: npt.NDArray[np.float32],
    force: bool = False,
) -> None:
    """Write a CSV, atomically: id, class, confidence, and p_NAME for each class.

    Args:
        path: the file.
        ids: N, one an image.
        class_names: C.
        probabilities: (N, C); written to 6 significant digits.
        force: replace an existing file.
    Raises:
        OutputError: `path` exists and `force` is false, or it cannot be written.
    """
    best = probabilities.argmax(axis=1).tolist()
    with atomic_path(path, force) as temporary, _open(temporary) as file:
        writer = csv.writer(file)
        writer.writerow(["id", "class", "confidence", *(f"p_{name}" for name in class_names)])
        for each, label, row in zip(ids, best, probabilities.tolist(), strict=True):
            numbers = [f"{value:.6g}" for value in (row[label], *row)]
            writer.writerow([each, class_names[label], *numbers])


def _open(path: Path) -> TextIO:
    """A text file to write; a file name that is not UTF-8 becomes the bytes that it is."""
    return path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
