"""`Split`: an ordered list of images to label, with all that says where it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import read_json, sha256_json, versions, write_json
from fmsel.datasets import ImageDataset, Source
from fmsel.datasets.images.dataset import UNKNOWN
from fmsel.errors import ArtefactError

SCHEMA = 1
PROTOTYPES, OUTLIERS = "prototypes", "outliers"  # the names of `Split.ends`
LABEL_USES = ("none", "training", "formula", "stratified", "unknown")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which images of one data set's train part get a label.

    Attributes:
        dataset, source, n, images_sha256, labels_sha256: `ImageDataset.describe()`.
        strategy: name of the strategy's module, or "imported".
        parameters: its parameters.
        seed: the selection seed.
        indices: ordered, distinct, global to the data set.
        label_use: "none" | "training" | "formula" | "stratified" | "unknown": how far the choice
            read labels that a real user does not have yet; all but "none" are oracles.
        class_counts: class name -> number of chosen images; empty without labels, or uncounted.
        labels: the labels people gave, in the order of `indices`, -1 where there is none yet;
            None = use the data set's.
        ends: "prototypes" and "outliers" -> the images that were chosen as such, where a strategy
            chooses both; images held already are in neither unless they were chosen so.
        provenance: what was read, with sha256; who labelled, where people did.
        versions: of Python and packages.
    """

    dataset: str
    source: Mapping[str, Any]
    n: int
    images_sha256: str
    labels_sha256: str
    strategy: str
    parameters: Mapping[str, Any]
    seed: int
    indices: Sequence[int]
    label_use: str
    class_counts: Mapping[str, int]
    labels: Sequence[int] | None = None
    ends: Mapping[str, Sequence[int]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=versions)
    schema_version: int = SCHEMA

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def index_array(self) -> npt.NDArray[np.int64]:
        """(M,) int64, in pick order."""
        return np.asarray(self.indices, dtype=np.int64)

    @property
    def oracle(self) -> bool:
        """Whether the choice read labels that a real user does not have yet."""
        return self.label_use != "none"

    @property
    def sha256(self) -> str:
        """Identity of the choice: the indices, their labels, and the images they point into."""
        return sha256_json([list(self.indices), self.labels, self.images_sha256])

    def chosen_as(self) -> dict[int, str]:
        """Index -> "prototype" or "outlier", of the images of which that is known."""
        return {index: name.removesuffix("s") for name, of in self.ends.items() for index in of}

    @property
    def awaited(self) -> int:
        """How many images wait for a person's label; 0 where the data set's labels are used."""
        return 0 if self.labels is None else list(self.labels).count(UNKNOWN)

    def given_labels(self, data: ImageDataset) -> npt.NDArray[np.int64]:
        """(M,) labels in the order of `indices`, -1 for none.

        People's where they labelled this split, also if some are still awaited; otherwise the data
        set's.
        """
        if self.labels is not None:
            return np.asarray(self.labels, dtype=np.int64)
        return data.labels[self.index_array]

    def validate(self, where: str) -> None:
        """Check the form; `where` (a file name) begins every error.

        Raises:
            ArtefactError: a field is of the wrong kind, or an index is repeated or out of range.
        """
        for name in ("dataset", "images_sha256", "labels_sha256", "strategy", "label_use"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ArtefactError(f"{where}: {name} must be a text, got {value!r}")
        for name in ("source", "parameters", "class_counts", "ends", "provenance", "versions"):
            if not isinstance(getattr(self, name), Mapping):
                raise ArtefactError(f"{where}: {name} must be a JSON object")
        if self.label_use not in LABEL_USES:
            raise ArtefactError(
                f"{where}: label_use must be one of {', '.join(LABEL_USES)}, got {self.label_use!r}"
            )
        for name in ("n", "seed"):
            if not _is_count(getattr(self, name)):
                raise ArtefactError(
                    f"{where}: {name} must be an integer of 0 or more, got {getattr(self, name)!r}"
                )
        try:
            Source.from_dict(self.source)
        except ArtefactError as error:
            raise ArtefactError(f"{where}: {error}") from None
        _check_indices(self.indices, self.n, where)
        for name, images in self.ends.items():
            if not isinstance(images, list) or not all(map(_is_count, images)):
                raise ArtefactError(f"{where}: the {name} of ends must be a list of indices")
        for name, count in self.class_counts.items():
            if not _is_count(count):
                raise ArtefactError(
                    f"{where}: class_counts must be integers of 0 or more, got {count!r} of {name}"
                )
        if self.labels is not None:
            _check_labels(self.labels, len(self), where)

    def check(self, data: ImageDataset, where: str) -> None:
        """Refuse images that this split was not made for.

        The data set's labels must agree only if the choice read them.

        Raises:
            ArtefactError: other images, other labels, indices that are not those counted, or a
                person's label of no class.
        """
        if self.images_sha256 != data.images_sha256:
            raise ArtefactError(
                f"{where} chooses among {self.n} images of {self.dataset}, not these {len(data)} "
                f"images of {data.name} (their sha256 differ); name the right data set, "
                "or make the split again with `fmsel split`"
            )
        if self.n != len(data):
            raise ArtefactError(
                f"{where} counts {self.n} images in {self.dataset}, which has {len(data)}, so its "
                "indices may lie outside; make it again with `fmsel split`"
            )
        if self.oracle and self.labels_sha256 != data.labels_sha256:
            raise ArtefactError(
                f"{where} was chosen with other labels of {self.dataset} than these of {data.name} "
                "(their sha256 differ); make it again with `fmsel split`"
            )
        self._check_counts(data, where)
        counted = tuple(self.class_counts)  # classes may have been added behind them
        if self.labels and data.class_names[: len(counted)] != counted:
            raise ArtefactError(
                f"{where} holds people's labels of the classes {', '.join(counted)}, but those of "
                f"{data.name} are {', '.join(data.class_names)}; put the names back as they were, "
                "in this order, and new ones at the end"
            )
        for place, label in enumerate(self.labels or ()):
            if label >= data.n_classes:
                raise ArtefactError(
                    f"{where}: label {label} at position {place} is no class of {data.name}, "
                    f"which has {data.n_classes}"
                )

    def _check_counts(self, data: ImageDataset, where: str) -> None:
        """Refuse counts that the indices do not have, if they count the labels of `data`."""
        theirs = self.labels is not None or self.labels_sha256 != data.labels_sha256
        if theirs or not self.class_counts:
            return
        counts = class_counts(data, self.index_array)
        for name in dict.fromkeys([*counts, *self.class_counts]):
            said, found = self.class_counts.get(name, 0), counts.get(name, 0)
            if said != found:
                raise ArtefactError(
                    f"{where} counts {said} images of class {name}, but its indices choose {found} "
                    f"of {data.name}; make it again with `fmsel split`"
                )

    def save(self, path: Path, force: bool = False) -> None:
        write_json(path, asdict(self), force)

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read a split and check its form; `check` compares it with its images."""
        values = read_json(path, "split")
        if values.get("schema_version") != SCHEMA:
            raise ArtefactError(
                f"{path} has schema_version {values.get('schema_version')!r}; "
                f"this fmsel reads version {SCHEMA}"
            )
        try:
            split = cls(**values)
        except TypeError as error:
            raise ArtefactError(f"{path} is not a valid split: {error}") from None
        split.validate(str(path))
        return split


def class_counts(data: ImageDataset, indices: npt.NDArray[np.int64]) -> dict[str, int]:
    """Chosen images of every class, also of those with none; unknown labels are not counted.

    Empty where the data set has no label at all.
    """
    if not (data.labels >= 0).any():
        return {}
    return count_labels(data.labels[indices], data.class_names)


def count_labels(labels: npt.NDArray[np.int64], class_names: Sequence[str]) -> dict[str, int]:
    """Images of every class, also of those with none; -1, unknown, is not counted."""
    counts = np.bincount(labels[labels >= 0], minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))


def _check_indices(indices: object, n: int, where: str) -> None:
    """Refuse anything but a list of distinct integers in 0..n-1, with ArtefactError."""
    if not isinstance(indices, list) or not indices:
        raise ArtefactError(f"{where}: indices must be a list of at least one integer")
    first_at: dict[int, int] = {}
    for place, index in enumerate(indices):
        if not isinstance(index, int) or isinstance(index, bool):
            raise ArtefactError(f"{where}: index {index!r} at position {place} is not an integer")
        if not 0 <= index < n:
            raise ArtefactError(
                f"{where}: index {index} at position {place} is outside 0..{n - 1}; "
                "indices are original positions in the data set's train part"
            )
        if index in first_at:
            raise ArtefactError(
                f"{where}: index {index} occurs twice (positions {first_at[index]} and {place}); "
                "remove one"
            )
        first_at[index] = place


def _check_labels(labels: object, count: int, where: str) -> None:
    if not isinstance(labels, list) or len(labels) != count:
        raise ArtefactError(f"{where}: labels must be a list as long as indices ({count})")
    for place, label in enumerate(labels):
        if not _is_count(label) and (label != UNKNOWN or not isinstance(label, int)):
            raise ArtefactError(
                f"{where}: label {label!r} at position {place} is neither a class, 0 or more, nor "
                "-1 for one that is awaited"
            )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
