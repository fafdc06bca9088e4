"""`Embeddings`: one vector an image, in memory-mappable .npy files with a JSON beside them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fmsel.artefacts import (
    atomic_path,
    check_output,
    read_json,
    sha256_array,
    versions,
    write_json,
)
from fmsel.datasets import ImageDataset
from fmsel.embeddings.vectors.shards import Rows, ShardedRows
from fmsel.errors import ArtefactError, OptionError

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings:
    """Vectors of all images of one part of a data set, in its order.

    Attributes:
        dataset: `ImageDataset.describe()` of the images.
        features: (N, D) float32, finite; read-only and memory-mapped where loaded from a file.
            Of several files they are `ShardedRows`.
        encoder: what made them, such as "patches", or the name of the user's file.
        parameters: of the encoder, PCA and normalisation, JSON-able.
        seed: of everything random in them.
        uses_labels: whether the encoder learned from the labels of this data set.
        made_with: versions.
    """

    dataset: Mapping[str, Any]
    features: Rows
    encoder: str
    parameters: Mapping[str, Any]
    seed: int
    uses_labels: bool
    made_with: Mapping[str, str] = field(default_factory=lambda: versions("torch", "scikit-learn"))

    def __post_init__(self) -> None:
        features, count = self.features, self.dataset["n"]
        if features.dtype != np.float32 or features.ndim != 2 or len(features) != count:
            raise ArtefactError(
                f"embeddings of {count} images must be float32 of shape ({count}, D), "
                f"got {features.dtype} of shape {features.shape}"
            )

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def sha256(self) -> str:
        if isinstance(self.features, ShardedRows):
            return self.features.hashes.whole
        return sha256_array(self.features)

    def check(self, data: ImageDataset, where: str) -> None:
        """Refuse embeddings of other images; ArtefactError names both."""
        if self.dataset["images_sha256"] != data.images_sha256:
            raise ArtefactError(
                f"{where} holds {self.encoder} embeddings of {self.dataset['n']} images of "
                f"{self.dataset['dataset']}, not of these {len(data)} images of {data.name} "
                f"(their sha256 differ); run `fmsel embed {data.source.arguments()}` for these"
            )

    def save(self, path: Path, force: bool = False) -> None:
        """Write `path` (.npy) and, with the same name, the JSON that says what it holds.

        Vectors in shards stay where they are: only the JSON is written, which names them by their
        place relative to itself.

        Raises:
            OptionError, OutputError: as `check_embeddings_output`; `path` is one of the shards.
        """
        check_embeddings_output(path, force)
        if isinstance(self.features, ShardedRows) and path.resolve() in self.features.paths:
            raise OptionError(f"{path} is one of the shards themselves; give another name")
        header = {
            "schema": SCHEMA,
            "dataset": dict(self.dataset),
            "encoder": self.encoder,
            "parameters": dict(self.parameters),
            "seed": self.seed,
            "uses_labels": self.uses_labels,
            "shape": list(self.features.shape),
            "sha256": self.sha256,
            "made_with": dict(self.made_with),
        }
        if isinstance(self.features, ShardedRows):
            header["shards"] = _named(self.features, path.resolve().parent)
        else:
            with atomic_path(path, force) as temporary, temporary.open("wb") as file:
                np.save(file, self.features)
        write_json(path.with_suffix(".json"), header, force)
        if isinstance(self.features, ShardedRows):
            path.unlink(missing_ok=True)  # of the embeddings that these replace

    @classmethod
    def load(cls, path: Path) -> "Embeddings":
        """Memory-map and verify embeddings, named by their .npy or their .json.

        Raises:
            ArtefactError: missing, broken, of a newer schema, without its JSON, or the array or a
                shard does not match the recorded sha256.
        """
        header = _header(path)
        path = path.with_suffix(".npy")
        try:
            found = cls(
                features=_features(path, header),
                **{name: header[name] for name in ("dataset", "encoder", "parameters", "seed")},
                uses_labels=header["uses_labels"],
                made_with=header["made_with"],
            )
            expected = header["sha256"]
        except (KeyError, TypeError) as error:
            raise ArtefactError(
                f"{path.with_suffix('.json')} does not describe embeddings ({error!r}); "
                "run `fmsel embed` again"
            ) from error
        if found.sha256 != expected:
            raise ArtefactError(
                f"{path} does not match the sha256 recorded in {path.with_suffix('.json').name}; "
                "run `fmsel embed` again"
            )
        return found


def check_embeddings_output(path: Path, force: bool = False) -> None:
    """Refuse now what could not be written later.

    Raises:
        OptionError: the name does not end in .npy.
        OutputError: as `check_output`, of the file or of the JSON beside it.
    """
    if path.suffix != ".npy":
        raise OptionError(f"embeddings are written as .npy, with a JSON beside it; got {path}")
    check_output(path, force)
    check_output(path.with_suffix(".json"), force)


def _named(shards: ShardedRows, folder: Path) -> list[dict[str, str]]:
    """Where each shard lies, seen from `folder`, and its hash."""
    return [
        {"file": Path(os.path.relpath(path, folder)).as_posix(), "sha256": digest}
        for path, digest in zip(shards.paths, shards.hashes.shards, strict=True)
    ]


def _features(path: Path, header: Mapping[str, Any]) -> Rows:
    """The vectors of one .npy, or of the shards that the header names.

    Raises:
        ArtefactError: files that cannot be read, or a shard that is not the one recorded.
        KeyError, TypeError: a header of another form.
    """
    beside = path.with_suffix(".json")
    if "shards" not in header:
        try:
            features: Rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ArtefactError(f"{path} is not a readable .npy file ({error})") from error
        return features
    folder, named = beside.resolve().parent, header["shards"]
    shards = ShardedRows.open([folder / each["file"] for each in named])
    for shard, found, each in zip(shards.paths, shards.hashes.shards, named, strict=True):
        if found != each["sha256"]:
            raise ArtefactError(
                f"the shard {shard} does not match the sha256 recorded in {beside}; run "
                "`fmsel embed` again"
            )
    return shards


def _header(path: Path) -> dict[str, Any]:
    beside, known = path.with_suffix(".json"), path.suffix in (".npy", ".json")
    header = read_json(beside, "description of embeddings") if known and beside.exists() else {}
    if not header or not ("shards" in header or path.with_suffix(".npy").exists()):
        raise ArtefactError(
            f"{path} is no embeddings file, which is a .npy with a .json of the same name beside "
            "it; make one with `fmsel embed DATASET`, or from your own vectors with `--from FILE`"
        )
    if header.get("schema") != SCHEMA:
        raise ArtefactError(
            f"{beside} has schema {header.get('schema')}; this fmsel reads schema {SCHEMA}"
        )
    return header
