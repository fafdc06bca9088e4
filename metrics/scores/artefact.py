"""`Scores`: one array a metric, higher = more prototypical in every one, in one npz file."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import atomic_path, sha256_array
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError, OptionError

SCHEMA = 1
_BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True, kw_only=True)
class MetricRecord:
    """How one metric's array was made."""

    parameters: Mapping[str, Any]
    seed: int
    seconds: float  # wall clock of the formula alone
    evidence_seconds: Mapping[str, float]  # of each kind of evidence it rests on, shared by metrics
    device: str
    label_use: str  # none | training (networks saw labels) | formula (reads this image's label)
    labels_sha256: str  # of the data set's labels then; metrics of one file may have read others
    sha256: str  # of the array
    # As evidence_seconds, but summed over jobs side by side, and of those from the cache too.
    compute_seconds: Mapping[str, float] = field(default_factory=dict)
    made_with: Mapping[str, str] = field(default_factory=dict)  # versions; {} in older files
    published: str = ""  # where ranks that came with fmsel are from; "" = scores, made by the user


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Prototypicality of every image of one data set's train part.

    Attributes:
        dataset: `ImageDataset.describe()` of the images that were scored.
        arrays: metric name -> (N,) float32, finite, higher = more prototypical.
        records: metric name -> how it was made.
    """

    dataset: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[np.float32]]
    records: Mapping[str, MetricRecord]

    def __len__(self) -> int:
        return int(self.dataset["n"])

    def array(self, metric: str) -> npt.NDArray[np.float32]:
        """One metric's scores; OptionError names the metrics there are."""
        if metric not in self.arrays:
            raise OptionError(
                f"these scores of {self.dataset['dataset']} hold no metric {metric!r}; "
                f"they hold {', '.join(self.arrays)}"
            )
        return self.arrays[metric]

    def check(self, data: ImageDataset, where: str) -> None:
        """Refuse scores that were made from other images; ArtefactError names both."""
        if self.dataset["images_sha256"] != data.images_sha256:
            raise ArtefactError(
                f"{where} scores {self.dataset['n']} images of {self.dataset['dataset']}, not "
                f"these {len(data)} images of {data.name} (their sha256 differ); "
                f"run `fmsel score {data.source.arguments()}` again"
            )

    def save(self, path: Path, force: bool = False) -> None:
        """Write the npz (no pickle): one float32 array a metric, and a JSON header."""
        header = {
            "schema": SCHEMA,
            "dataset": dict(self.dataset),
            "records": {name: asdict(record) for name, record in self.records.items()},
        }
        arrays: dict[str, Any] = dict(self.arrays)
        with atomic_path(path, force) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read and verify a scores file.

        Raises:
            ArtefactError: missing, broken, of a newer schema, or an array does not match its hash.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                header = json.loads(str(file["header"]))
                arrays = {name: file[name] for name in file.files if name != "header"}
            records = {name: MetricRecord(**values) for name, values in header["records"].items()}
            schema, dataset = header["schema"], header["dataset"]
        except FileNotFoundError:
            raise ArtefactError(
                f"there is no scores file {path}; make it with `fmsel score`"
            ) from None
        except _BROKEN as error:
            raise ArtefactError(f"{path} is not a readable fmsel scores file ({error})") from error
        if schema != SCHEMA:
            raise ArtefactError(f"{path} has schema {schema}; this fmsel reads schema {SCHEMA}")
        for name, array in arrays.items():
            if name not in records or sha256_array(array) != records[name].sha256:
                raise ArtefactError(
                    f"{path}: the array {name!r} does not match its recorded sha256"
                )
        return cls(dataset=dataset, arrays=arrays, records=records)
