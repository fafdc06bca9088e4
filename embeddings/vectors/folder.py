"""`import_folder`: the user's own vectors in shards, which are referred to where that suffices."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.embeddings.vectors.artefact import Embeddings
from fmsel.embeddings.vectors.checks import check_vectors
from fmsel.embeddings.vectors.files import read_table
from fmsel.embeddings.vectors.reduce import Reduction
from fmsel.embeddings.vectors.shards import Rows, ShardedRows, check_widths, shards_of
from fmsel.errors import ArtefactError


def import_folder(
    data: ImageDataset,
    folder: Path,
    reduction: Reduction | None = None,
    *,
    uses_labels: bool = False,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> Embeddings:
    """Read `part-*.npy`, whose rows are the images of `data` in its order, checked.

    Float32 files that nothing is done to are referred to; the embeddings then hold `ShardedRows`.
    All others are copied into one array, which takes 4 N D bytes of memory.

    Args:
        data: the images.
        folder: of files (N_i, D); part-2.npy comes before part-10.npy.
        reduction, uses_labels, seed: as for `import_embeddings`.
        say: called with one line about the order of the rows and whether they are copied.
    Raises:
        ArtefactError: no such files, broken ones, ones that disagree in D, or another number of
            rows than images.
        DataError: NaN, infinite values, or rows that are all the same.
    """
    reduction = reduction or Reduction()
    paths = shards_of(folder)
    parts = [read_table(path).vectors for path in paths]
    check_widths(paths, [part.shape[1] for part in parts])
    if (rows := sum(map(len, parts))) != len(data):
        raise ArtefactError(
            f"the {len(paths)} shards in {folder} hold {rows} rows, but {data.name} has "
            f"{len(data)} {data.part} images; embed exactly these"
        )
    why = _why_copied(parts, reduction)
    if say:
        what = f"copied ({why})" if why else "referred to, so keep them where they are"
        say(
            f"{folder}: rows are taken in the order of {data.name}, from {data.ids[0]} to "
            f"{data.ids[-1]}; the {len(paths)} shards are {what}"
        )
    origin = {
        "folder": folder.resolve().name,
        "shards": len(paths),
        "file_dtype": ", ".join(sorted({str(part.dtype) for part in parts})),
        "features": parts[0].shape[1],
        "matched_by_id": False,
    }
    features, record = _kept(paths, parts, reduction, data, seed, refer=not why)
    return Embeddings(
        dataset=data.describe(),
        features=features,
        encoder=folder.resolve().name,
        parameters={**origin, **record},
        seed=seed,
        uses_labels=uses_labels,
    )


def _why_copied(parts: Sequence[npt.NDArray[Any]], reduction: Reduction) -> str:
    """Empty where the files can be read as they are."""
    if reduction != Reduction():
        return "they are reduced or normalised"
    if any(part.dtype != np.float32 for part in parts):
        return "they are not all float32"
    return "" if all(part.flags.c_contiguous for part in parts) else "they are not all in C order"


def _kept(
    paths: Sequence[Path],
    parts: Sequence[npt.NDArray[Any]],
    reduction: Reduction,
    data: ImageDataset,
    seed: int,
    refer: bool,
) -> tuple[Rows, dict[str, Any]]:
    """The vectors, checked and reduced, and what was done to them."""
    where = str(paths[0].parent)
    if refer:
        shards = ShardedRows.open(paths)
        check_vectors(shards, data.ids, where)
        return shards, {"normalised": False}
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        features = np.concatenate(parts, dtype=np.float32, casting="unsafe")
    check_vectors(features, data.ids, where)
    return reduction.apply(features, seed)
