"""`ImageDataset`: one part of a data set, decoded, frozen and fingerprinted."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import sha256_array
from fmsel.errors import ArtefactError, DataError

Part = Literal["train", "test"]
UNKNOWN = -1  # the label of an image nobody has labelled

_SOURCE_TYPES = {
    "dataset": str,
    "data_root": str | None,
    "resize": int | None,
    "eval_fraction": float,
}


@dataclass(frozen=True, kw_only=True)
class WeakAugment:
    """The weak augmentation that is right for a data set (FixMatch, section 2.3)."""

    flip: bool = True  # mirror left-right with probability 0.5
    shift: int = 4  # pixels: reflect-pad by this much, then crop at a uniform offset


@dataclass(frozen=True, kw_only=True)
class Source:
    """All that is needed to find a data set again; travels in every artefact."""

    dataset: str  # a built-in name, or the path of an image folder
    data_root: str | None = None  # absolute; None for built-in data and the default download folder
    resize: int | None = None  # pixels: every image becomes resize x resize
    eval_fraction: float = 0.1  # share held out where a folder has no test part

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def arguments(self) -> str:
        """What to type after a command to name this data set, quoted for a shell."""
        words = [self.dataset]
        for name, default in (("data_root", None), ("resize", None), ("eval_fraction", 0.1)):
            if (value := getattr(self, name)) != default:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return shlex.join(words)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Source":
        """Raises ArtefactError on unknown or missing fields, or a value of another type."""
        try:
            source = cls(**values)
            for name, kind in _SOURCE_TYPES.items():
                if not isinstance(value := getattr(source, name), kind):
                    raise TypeError(f"{name} cannot be {value!r}")
        except TypeError as error:
            raise ArtefactError(
                f"the data set source {dict(values)} is not valid: {error}"
            ) from None
        return source


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageDataset:
    """One part (train or test) of a data set.

    Attributes:
        name: short name used in file names, such as "cifar10".
        source: how to find it again.
        part: "train" or "test".
        images: (N, H, W, 3) uint8, read-only; grey images have three equal channels.
        labels: (N,) int64, read-only, in [0, C) or -1 for unknown.
        ids: (N,) str, the original index or the path relative to the root.
        class_names: C names; empty when nothing is labelled.
        weak: the weak augmentation that suits the images.
    """

    name: str
    source: Source
    part: Part
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    ids: npt.NDArray[np.str_]
    class_names: tuple[str, ...]
    weak: WeakAugment

    def __post_init__(self) -> None:
        count = len(self.images)
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise DataError(
                f"{self.name}: images must be uint8 of shape (N, H, W, 3), "
                f"got {self.images.dtype} of shape {self.images.shape}"
            )
        if self.labels.shape != (count,) or self.ids.shape != (count,):
            raise DataError(f"{self.name}: {count} images need as many labels and ids")
        if count and not (self.labels.min() >= -1 and self.labels.max() < len(self.class_names)):
            raise DataError(
                f"{self.name}: labels must be -1 or in 0..{len(self.class_names) - 1}, "
                f"got {self.labels.min()}..{self.labels.max()}"
            )
        for array in (self.images, self.labels):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.images)

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def labelled(self) -> bool:
        """Whether every image has a label."""
        return bool(len(self)) and bool((self.labels >= 0).all())

    @cached_property
    def images_sha256(self) -> str:
        return sha256_array(self.images)

    @cached_property
    def labels_sha256(self) -> str:
        return sha256_array(self.labels)

    def describe(self) -> dict[str, Any]:
        """The fields by which an artefact recognises this data set."""
        return {
            "dataset": self.name,
            "source": self.source.as_dict(),
            "n": len(self),
            "images_sha256": self.images_sha256,
            "labels_sha256": self.labels_sha256,
        }
