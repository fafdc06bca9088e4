"""Any folder of images.

    PATH/{train,test}/<class>/*   both parts, labelled
    PATH/<class>/*                labelled; a stratified share of each class is the test part
    PATH/{train,test}/*           both parts, without labels
    PATH/train/* or PATH/*        without labels; the test part is empty
    PATH/train/*, PATH/test/<class>/*   a train part to be labelled, a labelled test part

Folder names are the classes, in natural order; an id is the path relative to PATH. Where no folder
names them, PATH/classes.txt may: a line a class, for people to label by. What else lies beside
train and test is not read.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fmsel.datasets.images.cache import decode_once
from fmsel.datasets.images.cut import stratified_cut
from fmsel.datasets.images.dataset import UNKNOWN, ImageDataset
from fmsel.datasets.images.decode import decode
from fmsel.datasets.images.files import ImageFile, list_folders, list_images
from fmsel.datasets.images.request import Request
from fmsel.errors import DataError

CLASSES = "classes.txt"
LAYOUTS = "PATH/{train,test}/<class>/*, PATH/<class>/* or, without labels, PATH/*"


class _Listing(NamedTuple):
    files: Sequence[ImageFile]
    labels: npt.NDArray[np.int64]  # (N,), -1 without labels
    classes: Sequence[str]  # empty where nothing names them


def load(request: Request) -> ImageDataset:
    """One part of the folder `request.source.dataset`.

    Raises:
        DataError: the folder is missing, empty or of no known layout; a class is empty or alone;
            train and test have other classes; or as `decode`.
    """
    root = Path(request.source.dataset)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", root.name).strip(".-") or "images"
    title = f"{name} {request.part}"
    side = request.source.resize
    listing, rows = _select(request, root)
    files = [listing.files[row] for row in rows]
    if files:
        images, sha256 = decode_once(root, files, side, title)
    else:  # an empty part has the shape of the others
        images, sha256 = decode(root, listing.files[:1], side, title)[:0], ""
    return request.answer(
        images,
        listing.labels[rows],
        [file.path for file in files],
        listing.classes,
        flip=True,
        name=name,
        images_sha256=sha256,
    )


def _select(request: Request, root: Path) -> tuple[_Listing, npt.NDArray[np.intp]]:
    """The listing that holds the part, and the part's rows in it."""
    folders = list_folders(root)
    if "train" not in folders or not _is_part(root, folders):
        return _cut(_named(root, _list(root, "")), request)
    train = _named(root, _list(root, "train"))
    if "test" not in folders:
        return _cut(train, request)
    test = _named(root, _list(root, "test"))
    if (train.labels == UNKNOWN).all() and set(train.classes) <= set(test.classes):
        train = train._replace(classes=test.classes)
    _check_same_classes(root, train.classes, test.classes)
    part = train if request.part == "train" else test
    return part, np.arange(len(part.files))


def _is_part(root: Path, folders: Sequence[str]) -> bool:
    """Whether `train` is a part, and not a class of vehicles beside `car` and `plane`."""
    return set(folders) <= {"train", "test"} or bool(list_folders(root / "train"))


def _cut(listing: _Listing, request: Request) -> tuple[_Listing, npt.NDArray[np.intp]]:
    if (listing.labels != UNKNOWN).any():
        held_out = stratified_cut(listing.labels, request.source.eval_fraction, seed=0)
    else:  # there is no accuracy to measure on images without labels
        held_out = np.zeros(len(listing.files), dtype=np.bool_)
    return listing, np.flatnonzero(held_out == (request.part == "test"))


def _list(root: Path, folder: str) -> _Listing:
    """All images of one part, class by class."""
    loose = list_images(root, folder)
    prefix = f"{folder}/" if folder else ""
    found = {name: list_images(root, prefix + name) for name in list_folders(root / folder)}
    _check_names(root, [file for files in (loose, *found.values()) for file in files])
    if loose:
        _check_loose(root, loose, found)
        return _Listing(loose, np.full(len(loose), UNKNOWN, dtype=np.int64), ())
    _check_classes(root / folder, found)
    counts = [len(files) for files in found.values()]
    files = [file for files in found.values() for file in files]
    return _Listing(files, np.repeat(np.arange(len(counts)), counts), tuple(found))


def _named(root: Path, listing: _Listing) -> _Listing:
    """The listing with the classes that `CLASSES` names, where no folders do."""
    path = root / CLASSES
    if listing.classes or not path.exists():
        return listing
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error})") from error
    names = [line.strip() for line in lines if line.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(
            f"{path} must name two or more classes, a line each and none twice; it has "
            f"{len(names)} names, {len(set(names))} of them different"
        )
    return listing._replace(classes=tuple(names))


def _check_names(root: Path, files: Sequence[ImageFile]) -> None:
    """Names go into JSON, CSV and pages, so they must be text."""
    for file in files:
        try:
            file.path.encode()
        except UnicodeEncodeError:
            shown = file.path.encode(errors="backslashreplace").decode()
            raise DataError(
                f"the name of {shown} in {root} is not UTF-8; rename it (`convmv` does many)"
            ) from None


def _check_loose(
    root: Path, loose: Sequence[ImageFile], found: Mapping[str, Sequence[ImageFile]]
) -> None:
    where = (root / loose[0].path).parent
    if filled := [name for name, files in found.items() if files]:
        raise DataError(
            f"{where} holds images beside folders of images ({Path(loose[0].path).name} and "
            f"{filled[0]}/); sort all into class folders, or none"
        )
    if len(loose) < 2:
        raise DataError(f"{where} holds one image; a data set needs at least 2")


def _check_classes(where: Path, found: Mapping[str, Sequence[ImageFile]]) -> None:
    empty = [name for name, files in found.items() if not files]
    if len(empty) == len(found):
        raise DataError(f"{where} holds no images; fmsel reads {LAYOUTS}")
    if empty:
        raise DataError(
            f"{where} has {len(empty)} class folders without images, such as {empty[0]!r}; "
            "fill or remove them"
        )
    if len(found) == 1:
        raise DataError(
            f"{where} has the one class folder {next(iter(found))!r}, and classes must be 2 or "
            "more; name the folder inside to use its images without labels"
        )


def _check_same_classes(root: Path, train: Sequence[str], test: Sequence[str]) -> None:
    if train != test:
        odd = sorted(set(train) ^ set(test))
        raise DataError(
            f"{root}/train and {root}/test must have the same class folders; only one of them has "
            f"{', '.join(odd)}"
        )
