"""`cifar10`: 50,000 + 10,000 images of 32 x 32 pixels, 10 classes (Krizhevsky, 2009).

Read from torchvision's archive, or from image files in `[cifar10/]{train,test}/<class>/<index>.png`
(or .jpg) under the data root, where an index is the position in the original set.
"""

from pathlib import Path

import numpy as np

from fmsel.datasets.images.cache import decode_once
from fmsel.datasets.images.dataset import ImageDataset
from fmsel.datasets.images.fetch import load_cifar
from fmsel.datasets.images.files import ImageFile, list_folders, list_images
from fmsel.datasets.images.request import Request
from fmsel.errors import DataError

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def load(request: Request) -> ImageDataset:
    """One part; an id is the index in the original set.

    Raises:
        DataError: it cannot be found or fetched, or its image files are not one for each index.
    """
    for tree in (request.root / "cifar10", request.root):
        if (tree / "train").is_dir():
            return _load_files(request, tree)
    return load_cifar(request, "CIFAR10")


def _load_files(request: Request, tree: Path) -> ImageDataset:
    folder = tree / request.part
    _check_classes(folder)
    found = [
        (_index(folder, file), label, file)
        for label, name in enumerate(CLASSES)
        for file in list_images(folder, name)
    ]
    found.sort()
    _check_complete(folder, [(index, file.path) for index, _, file in found])
    files = [file for _, _, file in found]
    decoded = decode_once(folder, files, request.source.resize, f"cifar10 {request.part}")
    return request.answer(
        decoded.images,
        [label for _, label, _ in found],
        np.arange(len(found)),
        CLASSES,
        flip=True,
        images_sha256=decoded.sha256,
    )


def _check_classes(folder: Path) -> None:
    names = set(list_folders(folder))
    for fault, odd in (("lacks", set(CLASSES) - names), ("also holds", names - set(CLASSES))):
        if odd:
            raise DataError(
                f"{folder} must hold the ten class folders of CIFAR-10 and {fault} "
                f"{', '.join(sorted(odd))}"
            )


def _index(folder: Path, file: ImageFile) -> int:
    stem = file.path.rpartition("/")[2].rpartition(".")[0]
    if not (stem.isascii() and stem.isdigit()):
        raise DataError(
            f"{folder / file.path} must be named by its index in CIFAR-10, such as 00042.png; "
            "rename or remove it"
        )
    return int(stem)


def _check_complete(folder: Path, found: list[tuple[int, str]]) -> None:
    """Refuse gaps and repeats in a list sorted by index."""
    if not found:
        raise DataError(f"{folder} holds no images; unpack CIFAR-10 there again")
    for place, (index, path) in enumerate(found):
        if index < place:
            raise DataError(
                f"{folder} holds index {index} twice, as {found[place - 1][1]} and {path}; "
                "remove one of them"
            )
        if index > place:
            raise DataError(
                f"{folder} lacks index {place} (its {len(found)} images go up to "
                f"{found[-1][0]}); unpack CIFAR-10 there again"
            )
