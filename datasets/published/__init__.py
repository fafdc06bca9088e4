"""Index sets that others published, each with its source; every module here holds one."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmsel.datasets.images import ImageDataset


@dataclass(frozen=True, kw_only=True, eq=False)
class PublishedSets:
    """Sets of images that were published as indices into a data set's train part.

    Attributes:
        dataset: name of the data set.
        n: its number of images.
        labels_sha256: of its (n,) int64 labels, which proves the order of the images.
        names: S names, one a set.
        indices: (S, M) int64, global to the data set.
        labels: (S, M) int64, the data set's own labels of these images.
        citation: who published them.
        url: where.
    """

    dataset: str
    n: int
    labels_sha256: str
    names: tuple[str, ...]
    indices: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    citation: str
    url: str

    def matches(self, data: ImageDataset) -> bool:
        """Whether the indices point into `data`; its pixels may be another copy of the images."""
        return (
            data.part == "train"
            and data.name == self.dataset
            and len(data) == self.n
            and data.labels_sha256 == self.labels_sha256
        )
