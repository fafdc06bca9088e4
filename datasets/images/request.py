"""`Request`: what a data set module is asked for, and the one way to answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import cache_dir
from fmsel.datasets.images.dataset import ImageDataset, Part, Source, WeakAugment
from fmsel.datasets.images.resize import resize_images


@dataclass(frozen=True, kw_only=True)
class Request:
    """One part of one data set; every data set module has `load(request) -> ImageDataset`."""

    source: Source
    part: Part
    offline: bool  # True: never use the network

    @property
    def root(self) -> Path:
        """The folder that holds the files, or receives the download."""
        return Path(self.source.data_root or cache_dir() / "data")

    def answer(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.ArrayLike,
        ids: Sequence[object] | npt.NDArray[np.int64],
        class_names: Sequence[str],
        *,
        flip: bool,
        name: str = "",
        images_sha256: str = "",
    ) -> ImageDataset:
        """The data set of these arrays, at the side asked for.

        Args:
            images: (N, H, W, 3) uint8.
            labels: (N,) integers.
            ids: (N,) anything that prints, the original index or relative path.
            class_names: C names.
            flip: whether a mirrored image is still of its class.
            name: the data set's name where it is not the source's.
            images_sha256: of `images`, where the caller knows it.
        """
        side = self.source.resize
        if side and images.shape[1:3] != (side, side):
            images, images_sha256 = resize_images(images, side), ""
        data = ImageDataset(
            name=name or self.source.dataset,
            source=self.source,
            part=self.part,
            images=np.ascontiguousarray(images),
            labels=np.array(labels, dtype=np.int64),
            ids=np.array([str(each) for each in ids], dtype=np.str_),
            class_names=tuple(class_names),
            # FixMatch, section 2.3: translated by up to 12.5 % of the side
            weak=WeakAugment(flip=flip, shift=max(1, images.shape[1] // 8)),
        )
        if images_sha256:
            data.__dict__["images_sha256"] = images_sha256  # fills the cached property
        return data
