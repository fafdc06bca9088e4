"""The images that wait for a label, and the files in which a person can look at them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from PIL import Image

from fmsel.artefacts import check_output
from fmsel.datasets import ImageDataset, dataset_names
from fmsel.errors import DataError, OptionError, OutputError
from fmsel.labeling.answers import check_classes
from fmsel.selection.split import Split

SIDE = 128  # pixels; a person cannot tell what is on much smaller images


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The images to label, each with its file.

    Attributes:
        indices: (K,) global to the data set, in the split's order.
        ids: K, as in the data set.
        files: K, absolute; they are the data set's own, or lie in `folder`.
        names: K, what an image root is put in front of: paths relative to the data set's folder, or
            to the folder that `folder` lies in.
        folder: where copies go; None where the data set's own files serve.
    """

    indices: npt.NDArray[np.int64]
    ids: list[str]
    files: list[Path]
    names: list[str]
    folder: Path | None


def awaiting(split: Split, data: ImageDataset, everything: bool = False) -> npt.NDArray[np.int64]:
    """(K,) indices of the images that have no label yet, in the split's order.

    Args:
        everything: those that have one too.
    Raises:
        ArtefactError: the split does not belong to `data`.
        DataError: there are no classes to choose from.
        OptionError: no image waits.
    """
    split.check(data, "the split")
    check_classes(data)
    if everything:
        return split.index_array
    found = split.index_array[split.given_labels(data) < 0]
    if not len(found):
        raise OptionError(
            f"all {len(split)} images of the split have a label already; pass --all to have people "
            "label them afresh"
        )
    return found


def pictures(split: Split, data: ImageDataset, to: Path, everything: bool = False) -> Pictures:
    """The images to label; `to` is the file that will name them.

    Copies of built-in data's images get a folder beside `to`.

    Raises:
        ArtefactError, DataError, OptionError: as `awaiting`; DataError also where a file's name is
            not UTF-8.
    """
    indices = awaiting(split, data, everything)
    ids = [str(data.ids[index]) for index in indices]
    for each in ids:
        _check_text(each)
    if data.source.dataset not in dataset_names():
        root = Path(data.source.dataset)
        return Pictures(
            indices=indices, ids=ids, files=[root / each for each in ids], names=ids, folder=None
        )
    folder = to.absolute().with_name(f"{to.stem}-images")
    names = [f"{folder.name}/{index}.png" for index in indices]
    files = [folder.parent / name for name in names]
    return Pictures(indices=indices, ids=ids, files=files, names=names, folder=folder)


def check_target(to: Path, force: bool, count: Callable[[bytes], int] | None = None) -> None:
    """Refuse now what could not be written later, and what would wipe people's work.

    Args:
        to: the file, or folder, to write.
        force: replace an existing one.
        count: how many labels a file of this content holds; None = such a file holds none.
    Raises:
        OutputError: `to` exists and `force` is false, or holds labels, or cannot be written to.
    """
    if count is not None and to.is_file():
        try:
            held = count(to.read_bytes())
        except OSError as error:
            raise OutputError(
                f"{to} cannot be read, so it may hold labels ({error.strerror or error}); choose "
                "another --to"
            ) from error
        if held:
            raise OutputError(
                f"{to} holds {held} label{'s' if held > 1 else ''} that would be lost, even with "
                "--force; choose another --to, or delete the file"
            )
    if to.exists() and not force:
        raise OutputError(
            f"{to} already exists; choose another --to, or pass --force to replace it"
        )
    check_output(to, force)


def check_pictures(found: Pictures, force: bool) -> None:
    """Refuse now what `write_pictures` could not write; OutputError."""
    if found.folder is not None:
        check_target(found.folder, force)


def enlarged(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) with every pixel as a block of k x k, the least that gives `SIDE` each way."""
    k = -(-SIDE // min(image.shape[:2]))
    return image.repeat(k, axis=0).repeat(k, axis=1)


def write_pictures(found: Pictures, data: ImageDataset) -> None:
    """Write the copies, `enlarged`, losslessly; all of them or, on a full disk, none.

    Copies of an earlier export are replaced, other files in the folder are left alone.
    """
    folder = found.folder
    if folder is None:
        return
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        for index, file in zip(found.indices, found.files, strict=True):
            Image.fromarray(enlarged(data.images[index])).save(Path(temporary, file.name))
        folder.mkdir(exist_ok=True)
        for file in found.files:
            Path(temporary, file.name).replace(file)


def _check_text(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            f"the file name {name!r} is not UTF-8, so no table can hold it; rename the file"
        ) from None
