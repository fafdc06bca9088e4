"""`Collection`: one data set with all that is known of its images, as the served page shows it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.errors import OptionError
from fmsel.metrics.scores import Scores, percentile, typical_first, within_class_percentile
from fmsel.report.served.positions import Positions
from fmsel.selection.split import Split

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, eq=False)
class Collection:
    """What there is to look at; nothing of it changes while it is served.

    Attributes:
        data: N images, their labels the data set's own.
        scores: prototypicality of the images; None = nobody scored them.
        splits: name -> split of these images.
        predicted: run's name -> (N,) int64 classes that its network gives them.
        positions: of the images on the map; None = nobody embedded them.
        no_map: why there is no map, and how to get one; empty where there is one.
    """

    data: ImageDataset
    scores: Scores | None = None
    splits: Mapping[str, Split] = field(default_factory=dict)
    predicted: Mapping[str, IntArray] = field(default_factory=dict)
    positions: Positions | None = None
    no_map: str = ""
    _kept: dict[tuple[str, ...], Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def version(self) -> str:
        """Names the images in addresses that a browser may keep: other images, other addresses."""
        return self.data.images_sha256[:16]

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.scores.arrays) if self.scores is not None else ()

    @cached_property
    def classes(self) -> Mapping[str, int]:
        """Class name -> label."""
        return {name: label for label, name in enumerate(self.data.class_names)}

    def split(self, name: str) -> Split:
        """One of the splits; OptionError names those there are."""
        if name not in self.splits:
            raise OptionError(f"there is no split {name!r} here; {_there_are(self.splits)}")
        return self.splits[name]

    def percentiles(self, metric: str, within: bool) -> FloatArray:
        """(N,) in (0, 1), 1 = the best prototype; among all images, or of each class.

        Raises:
            OptionError: no such metric.
        """
        if metric not in self.metrics:
            raise OptionError(f"there is no metric {metric!r} here; {_there_are(self.metrics)}")
        assert self.scores is not None  # it has metrics
        scores = self.scores.arrays[metric]

        def make() -> FloatArray:
            labels = self.data.labels
            shares = within_class_percentile(scores, labels) if within else percentile(scores)
            return shares.astype(np.float32)

        return self._keep(("percentiles", metric, str(within)), make)

    def typical_first(self, metric: str, within: bool) -> IntArray:
        """(N,) indices from the best prototype to the worst outlier; of equals the lower first."""
        shares = self.percentiles(metric, within)
        return self._keep(("order", metric, str(within)), lambda: typical_first(shares))

    def places(self, split: str) -> IntArray:
        """(N,) place of each image in a split, 0 = chosen first, -1 = not chosen."""
        indices = self.split(split).index_array

        def make() -> IntArray:
            places = np.full(len(self), -1, dtype=np.int64)
            places[indices] = np.arange(len(indices))
            return places

        return self._keep(("places", split), make)

    def _keep(self, key: tuple[str, ...], make: Callable[[], Made]) -> Made:
        """Made when first asked for; two requests at once may both make it, and get the same."""
        if key not in self._kept:
            self._kept[key] = make()
        made: Made = self._kept[key]
        return made


def _there_are(names: Iterable[str]) -> str:
    return f"there are {listed}" if (listed := ", ".join(names)) else "there are none"
