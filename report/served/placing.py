"""Where the images lie on the map: by their embeddings, and kept beside them."""

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fmsel.artefacts import atomic_path
from fmsel.embeddings.vectors import Embeddings
from fmsel.embeddings.vectors.map import ImageMap, image_map
from fmsel.errors import OutputError
from fmsel.report.served.positions import Positions

SCHEMA = 1
SEED = 0


def map_path(embeddings: Path) -> Path:
    """Where the positions by some embeddings are kept."""
    return embeddings.with_name(f"{embeddings.stem}-map.npz")


def positions_by(embeddings: Embeddings, path: Path) -> Positions:
    """The positions of all images: from an earlier time, or made now and kept.

    Args:
        path: as `map_path`; where it cannot be written, a note says so.
    """
    header = {"schema": SCHEMA, "embeddings_sha256": embeddings.sha256, "seed": SEED}
    if (kept := _read(path, header)) is not None:
        return kept
    made = image_map(embeddings.features, np.arange(len(embeddings), dtype=np.int64), seed=SEED)
    points, told = made.points, _told(made, embeddings)
    try:
        with atomic_path(path, force=True) as temporary, temporary.open("wb") as file:
            np.savez(file, header=np.array(json.dumps({**header, "told": told})), points=points)
    except OutputError as error:
        warnings.warn(f"the map is not kept for the next time: {error}", stacklevel=2)
    return Positions(points=points, told=told)


def _read(path: Path, header: dict[str, Any]) -> Positions | None:
    """None where there is no file, or that of other embeddings, or a broken one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            kept = json.loads(str(file["header"]))
            told = kept.pop("told")
            return Positions(points=file["points"], told=told) if kept == header else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _told(made: ImageMap, embeddings: Embeddings) -> str:
    """How a map was made, and how far to trust it, in a few sentences."""
    late = int((~made.placed).sum())
    said = [f"Placed by {embeddings.encoder} embeddings with {made.method}."]
    if late:
        said.append(
            f"It placed {len(made.placed) - late:,} images, drawn at random; the others lie at the "
            "mean of their nearest neighbours among these, weighted by the inverse of the distance."
        )
    said.append("Only who is near whom means something; sizes and distances of groups do not.")
    if made.trustworthiness is not None:
        said.append(
            f"Trustworthiness {made.trustworthiness:.3f}: 1 = neighbours on the map are neighbours "
            "in the embedding; about 0.5 = chance."
        )
    if embeddings.uses_labels:
        said.append("The embedding learned from labels of this data set: an oracle.")
    return " ".join(said)
