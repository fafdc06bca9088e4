"""A reference ranking that others made, read from a file, for some or all images of a data set."""

import csv
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError, OptionError

INDEX = "index"  # of a csv's column or an npz's array
LABELS = "labels"  # an npz's array that proves the order of the images
MIN_IMAGES = 3  # two always correlate by +1 or -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What others say of how prototypical images are.

    Attributes:
        name: of the file, and of the array where it holds several.
        indices: (K,) int64, global to the data set, each once.
        values: (K,) float64, finite, higher = more prototypical.
    """

    name: str
    indices: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def load_references(places: Sequence[str], data: ImageDataset) -> list[Reference]:
    """Read several; OptionError where two have the same name, else as `load_reference`."""
    found = [load_reference(place, data) for place in places]
    names = [each.name for each in found]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise OptionError(
            f"two references are called {min(repeated)!r}; rename a file, as tables name them so"
        )
    return found


def load_reference(place: str, data: ImageDataset) -> Reference:
    """Read a reference.

    A csv has a header with the column `index` and one more. An npz (no pickle) holds an array of
    one value an image; with an array `index`, of one value for each of these images; an array
    `labels` must equal the data set's.

    Args:
        place: the path of a csv or npz file, with `:NAME` behind it where the file holds several
            columns or arrays.
        data: the images that the indices point into.
    Raises:
        ArtefactError: the file is missing, broken or ambiguous, of other images, or holds an index
            that is unknown or repeated, a value that is no finite number, or one value for all.
    """
    path, name = _place(place)
    columns = dict(_read(path))
    labels, index = columns.pop(LABELS, None), columns.pop(INDEX, None)
    chosen = _choose(columns, path, name)
    values = _numbers(columns[chosen], f"{path}: {chosen}")
    indices = np.arange(len(data)) if index is None else _indices(index, len(data), path)
    _check_length(values, indices, path, whole=index is None)
    if labels is not None and not np.array_equal(labels, data.labels[indices]):
        raise ArtefactError(
            f"{path} is about other images: its labels differ from those of {data.name}; "
            "use a reference in this data set's order"
        )
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ArtefactError(
            f"{path}: the value of image {indices[row]} is {values[row]}; leave such images out "
            f"(an `{INDEX}` column names those that are there)"
        )
    if values.min() == values.max():
        raise ArtefactError(
            f"{path}: {chosen} is the same for all images, so nothing can be compared with it"
        )
    title = path.stem if len(columns) == 1 else f"{path.stem}:{chosen}"
    return Reference(name=title, indices=indices, values=values)


def _place(place: str) -> tuple[Path, str | None]:
    """The path, and what follows its last colon if there is no such file."""
    path, _, name = place.rpartition(":")
    return (Path(place), None) if Path(place).exists() or not path else (Path(path), name)


def _read(path: Path) -> Mapping[str, npt.NDArray[np.generic]]:
    readers = {".csv": _read_csv, ".npz": _read_npz}
    if path.suffix not in readers:
        raise ArtefactError(f"the reference {path} must be a .csv or .npz file")
    try:
        return readers[path.suffix](path)
    except (OSError, ValueError, EOFError, csv.Error, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ArtefactError(f"the reference {path} cannot be read ({reason})") from error


def _read_npz(path: Path) -> Mapping[str, npt.NDArray[np.generic]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_csv(path: Path) -> Mapping[str, npt.NDArray[np.generic]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = [row for row in csv.reader(file) if row] or [[]]
    if INDEX not in header:
        raise ValueError(f"its first line must name its columns, one of them `{INDEX}`")
    if faulty := [row for row in rows if len(row) != len(header)]:
        raise ValueError(f"the line {','.join(faulty[0])!r} has not {len(header)} values")
    cells = np.array(rows, dtype=np.str_).reshape(len(rows), len(header))
    return dict(zip(header, cells.T, strict=True))


def _choose(columns: Mapping[str, object], path: Path, name: str | None) -> str:
    there = ", ".join(columns) or "none"
    if name is not None and name not in columns:
        raise ArtefactError(f"{path} holds no values {name!r}; it holds {there}")
    if name is None and len(columns) != 1:
        raise ArtefactError(
            f"{path} must hold one array of values, got {there}; name one as {path}:NAME"
        )
    return name or next(iter(columns))


def _numbers(cells: npt.NDArray[np.generic], what: str) -> npt.NDArray[np.float64]:
    try:
        return cells.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise ArtefactError(f"{what} must hold numbers ({error})") from error


def _indices(cells: npt.NDArray[np.generic], count: int, path: Path) -> npt.NDArray[np.int64]:
    found = _numbers(cells, f"{path}: {INDEX}")
    unknown = found[~((found >= 0) & (found < count) & (found % 1 == 0))]
    if len(unknown):
        raise ArtefactError(
            f"{path} has the index {unknown[0]:g}, but the data set's images are 0 to {count - 1}"
        )
    indices = found.astype(np.int64)
    if (repeats := np.bincount(indices, minlength=count)).max(initial=0) > 1:
        raise ArtefactError(f"{path} has the index {repeats.argmax()} more than once")
    return indices


def _check_length(
    values: npt.NDArray[np.float64], indices: npt.NDArray[np.int64], path: Path, whole: bool
) -> None:
    if values.shape != indices.shape:
        mend = f"; add an array `{INDEX}` that says which images they are" if whole else ""
        raise ArtefactError(
            f"{path} holds values of shape {values.shape} for {len(indices)} images{mend}"
        )
    if len(values) < MIN_IMAGES:
        raise ArtefactError(
            f"{path} has values for {len(values)} images; a correlation needs {MIN_IMAGES}"
        )
