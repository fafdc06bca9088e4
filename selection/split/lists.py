"""Which images to leave out, and which belong together: files that people write."""

import csv
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.embeddings.vectors.neighbours import nearest_neighbours
from fmsel.errors import ArtefactError, OptionError
from fmsel.selection.geometry.vectors import unit
from fmsel.selection.pool import IntArray
from fmsel.selection.split.artefact import Split
from fmsel.selection.split.exchange import import_split

ROUNDING = 4e-6  # of squared distances between float32 vectors of length 1
NEIGHBOURS = 50  # of each image, looked at for near-duplicates; longer chains join through others


def read_images(path: Path, data: ImageDataset) -> IntArray:
    """(X,) distinct images named in a file.

    Args:
        path: a split (.json); indices as .npy or .txt, as `import_split` reads them; or a .csv with
            a column `id` or `index`.
    Raises:
        ArtefactError: unreadable, of other images, or an image that is unknown or named twice.
        OptionError: another suffix.
    """
    if path.suffix == ".json":
        split = Split.load(path)
        split.check(data, str(path))
        return split.index_array
    if path.suffix == ".csv":
        return np.array([index for index, _ in _rows(path, data)], dtype=np.int64)
    if path.suffix == ".txt":
        _check_indices(path)
    return import_split(path, data).index_array


def read_groups(path: Path, data: ImageDataset) -> IntArray:
    """(N,) group of every image; one that is not named is a group of its own.

    Args:
        path: a .csv with the columns `group` (any text) and `id` or `index`.
    Raises:
        ArtefactError: unreadable, or an image that is unknown or named twice; with its line.
        OptionError: another suffix.
    """
    if path.suffix != ".csv":
        raise OptionError(
            f"groups are read from a .csv with the columns group and id or index; got {path}"
        )
    groups = np.arange(len(data), dtype=np.int64)
    first: dict[str, int] = {}
    named = 0
    for index, group in _rows(path, data, "group"):
        if group.strip():  # an empty cell, as tables have for what is missing, joins nothing
            groups[index] = first.setdefault(group.strip(), index)
            named += 1
    if named < len(data):
        warnings.warn(
            f"{path} gives {named} of {len(data)} images a group; each of the others stands alone",
            stacklevel=2,
        )
    return groups


def near_duplicates(features: npt.NDArray[np.float32], cosine: float) -> IntArray:
    """(N,) groups of images that chains of pairs join whose cosine is at least `cosine`.

    Args:
        features: (N, D).
        cosine: above 0, at most 1.
    Raises:
        OptionError: `cosine` out of range.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not 0 < cosine <= 1:
        raise OptionError(f"the cosine of near-duplicates must be in 0..1 and not 0, got {cosine}")
    count = len(features)
    if count < 2:
        return np.arange(count, dtype=np.int64)
    found = nearest_neighbours(unit(features), min(NEIGHBOURS, count - 1))
    near = found.distances.astype(np.float64) ** 2 <= 2 - 2 * cosine + ROUNDING
    rows = np.repeat(np.arange(count), near.sum(axis=1))
    pairs = coo_array((np.ones(len(rows)), (rows, found.indices[near])), shape=(count, count))
    return np.asarray(connected_components(pairs, directed=False)[1], dtype=np.int64)


def joined(a: IntArray, b: IntArray) -> IntArray:
    """(N,) the finest groups in which images are together that are so in `a` or in `b`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(a)
    own = np.arange(count)
    rows, columns = [], []
    for groups in (a, b):
        _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
        rows.append(own)
        columns.append(first[inverse])
    ends = np.concatenate(rows), np.concatenate(columns)
    pairs = coo_array((np.ones(2 * count), ends), shape=(count, count))
    return np.asarray(connected_components(pairs, directed=False)[1], dtype=np.int64)


def _rows(path: Path, data: ImageDataset, also: str | None = None) -> Iterator[tuple[int, str]]:
    """(index, value of the column `also`) of every line of a .csv; each image at most once."""
    places = {str(name): index for index, name in enumerate(data.ids)}
    seen: dict[int, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            key = next((name for name in ("id", "index") if name in (table.fieldnames or ())), "")
            if not key or (also and also not in (table.fieldnames or ())):
                wanted = "id or index" + (f", and {also}" if also else "")
                raise ArtefactError(f"{path} must have a first line that names columns: {wanted}")
            for row in table:
                line = table.line_num
                index = _place(row[key] or "", key, places, len(data), f"{path}, line {line}")
                if index in seen:
                    raise ArtefactError(
                        f"{path}, line {line}: {key} {row[key]} was on line {seen[index]} already; "
                        "remove one"
                    )
                seen[index] = line
                yield index, (row[also] or "") if also else ""
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArtefactError(f"{path} cannot be read as a .csv ({error})") from error


def _check_indices(path: Path) -> None:
    """Say what to do with a list of names; what else is wrong is for `import_split` to say."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.strip().lstrip("-").isdecimal():
            raise ArtefactError(
                f"{path}, line {number}: {line.strip()!r} is no index; put names into a .csv with "
                "a column id"
            )


def _place(text: str, key: str, places: dict[str, int], count: int, where: str) -> int:
    if key == "id":
        if text not in places:
            raise ArtefactError(f"{where}: there is no image with the id {text!r}")
        return places[text]
    if not text.isdecimal() or len(text) > 18 or int(text) >= count:
        raise ArtefactError(f"{where}: index {text!r} is not one of 0..{count - 1}")
    return int(text)
