"""`import_embeddings`: the user's own vectors (DINO, CLIP, any encoder) as `Embeddings`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import sha256_file
from fmsel.datasets import ImageDataset
from fmsel.embeddings.vectors.artefact import Embeddings
from fmsel.embeddings.vectors.checks import check_vectors
from fmsel.embeddings.vectors.files import read_table
from fmsel.embeddings.vectors.reduce import Reduction
from fmsel.errors import ArtefactError


def import_embeddings(
    data: ImageDataset,
    path: Path,
    ids: str | None = None,
    reduction: Reduction | None = None,
    *,
    uses_labels: bool = False,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> Embeddings:
    """Read vectors of the images of `data`, checked, in its order, as float32.

    Args:
        data: the images.
        path, ids: as `read_table` takes them; without ids the rows must be in the data set's order.
        reduction: PCA and normalisation; None = neither.
        uses_labels: whether the encoder learned from the labels of this data set.
        seed: of PCA.
        say: called with one line about the order of the rows.
    Raises:
        OptionError, ArtefactError: as `read_table`; rows or ids that do not fit the data set; more
            components than there are.
        DataError: NaN, infinite values, or rows that are all the same.
    """
    table = read_table(path, ids)
    rows = _order(table.ids, len(table.vectors), data, path)
    if say:
        say(f"{path}: {_told(rows, data)}")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        features = np.array(table.vectors, dtype=np.float32)
    check_vectors(features, data.ids if table.ids is None else table.ids, str(path))
    features, record = (reduction or Reduction()).apply(
        features if rows is None else features[rows], seed
    )
    return Embeddings(
        dataset=data.describe(),
        features=features,
        encoder=path.stem,
        parameters={**_origin(path, table.vectors, table.ids is not None), **record},
        seed=seed,
        uses_labels=uses_labels,
    )


def _told(rows: npt.NDArray[np.int64] | None, data: ImageDataset) -> str:
    if rows is not None:
        return f"rows are matched with the images of {data.name} by id"
    return (
        f"no ids, so the rows are taken in the order of {data.name}, from {data.ids[0]} to "
        f"{data.ids[-1]}"
    )


def _order(
    ids: npt.NDArray[np.str_] | None, count: int, data: ImageDataset, path: Path
) -> npt.NDArray[np.int64] | None:
    """(N,) the row of each image of `data`; None without ids, where the rows are in order.

    Raises:
        ArtefactError: another number of rows, repeated ids, ids that are no images of `data`, or
            images without a row; each with an example.
    """
    if ids is None:
        _check_count(count, data, path)
        return None
    if len(ids) != count:
        raise ArtefactError(f"{path} holds {count} rows, but there are {len(ids)} ids; name each")
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    again = ordered[1:][ordered[1:] == ordered[:-1]].tolist()
    if again:
        raise _misfit(path, f"has the id {again[0]!r} more than once", again, "keep one row each")
    if unknown := np.setdiff1d(ids, data.ids).tolist():
        what = (
            f"has the id {unknown[0]!r}, which is no {data.part} image of {data.name} (whose ids "
            f"are like {data.ids.tolist()[0]!r})"
        )
        raise _misfit(path, what, unknown, "leave such rows out")
    if missing := np.setdiff1d(data.ids, ids).tolist():
        what = f"has no row for {missing[0]!r} of {data.name}"
        raise _misfit(path, what, missing, "embed every image")
    return np.asarray(order[np.searchsorted(ordered, data.ids)])


def _check_count(count: int, data: ImageDataset, path: Path) -> None:
    if count != len(data):
        raise ArtefactError(
            f"{path} holds {count} rows, but {data.name} has {len(data)} {data.part} images; "
            "embed exactly these, or give ids (--ids) so that rows can be matched"
        )


def _misfit(path: Path, what: str, ids: Sequence[str], mend: str) -> ArtefactError:
    return ArtefactError(f"{path} {what} ({len(ids)} such ids); {mend}")


def _origin(path: Path, vectors: npt.NDArray[Any], with_ids: bool) -> dict[str, Any]:
    return {
        "file": path.name,
        "file_sha256": sha256_file(path),
        "file_dtype": str(vectors.dtype),
        "features": vectors.shape[1],
        "matched_by_id": with_ids,
    }
