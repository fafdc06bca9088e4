"""`Query`: which images a gallery shows, and in which order; the same words as in its address."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmsel.errors import OptionError
from fmsel.report.served.collection import Collection

BY_INDEX, BY_SPLIT = "index", "split"  # orders; every other one is a metric's name
METRIC = "metric:"  # before a metric's name, which may be that of another order
CHOICES = {
    "label": ("", "known", "unknown"),
    "within": ("all", "class"),
    "first": ("prototypes", "outliers"),
}
FIELDS = ("class", "label", "split", "order", "within", "first")


@dataclass(frozen=True, kw_only=True)
class Query:
    """A filter and an order.

    Attributes:
        name: of the only class to show; None = all.
        label: "known", "unknown" or "" for both: whether the data set says an image's class.
        split: of the only images to show; None = all.
        order: "index", "split" (as chosen), or "metric:" and a metric's name.
        within: whether a metric's percentile is among "all" images or those of a "class".
        first: which end of a metric comes first, "prototypes" or "outliers".
    """

    name: str | None = None
    label: str = ""
    split: str | None = None
    order: str = BY_INDEX
    within: str = "all"
    first: str = "prototypes"

    @classmethod
    def parse(cls, words: Mapping[str, str], collection: Collection) -> "Query":
        """From the parameters of an address; those that are missing or empty mean the default.

        Raises:
            OptionError: a class, split or order that there is not, or another word.
        """
        given = {key: value for key, value in words.items() if value}
        for key, choices in CHOICES.items():
            if given.get(key, choices[0]) not in choices:
                allowed = " or ".join(filter(None, choices))
                raise OptionError(f"{key} must be {allowed}, got {given[key]!r}")
        query = cls(**{"name" if key == "class" else key: given[key] for key in given})
        query._check(collection)
        return query

    def _check(self, collection: Collection) -> None:
        if self.name is not None and self.name not in collection.classes:
            raise OptionError(f"there is no class {self.name!r} in {collection.data.name}")
        if self.split is not None:
            collection.split(self.split)
        if self.order == BY_SPLIT and self.split is None:
            raise OptionError("order=split needs a split, whose order it is")
        if self.order.startswith(METRIC):
            collection.percentiles(self.metric, self.within == "class")
        elif self.order not in (BY_INDEX, BY_SPLIT):
            raise OptionError(
                f"order must be {BY_INDEX}, {BY_SPLIT}, or {METRIC} and the name of a metric, "
                f"got {self.order!r}"
            )

    @property
    def metric(self) -> str:
        """Name of the metric that orders; empty where none does."""
        return self.order.removeprefix(METRIC) if self.order.startswith(METRIC) else ""


def matching(collection: Collection, query: Query) -> npt.NDArray[np.int64]:
    """(K,) indices of the images that a query asks for, in its order; each once."""
    if query.order == BY_SPLIT:
        assert query.split is not None  # checked by `parse`
        ordered = collection.split(query.split).index_array
    elif query.metric:
        ordered = collection.typical_first(query.metric, query.within == "class")
        if query.first == "outliers":
            ordered = ordered[::-1]
    else:
        ordered = np.arange(len(collection))
    return ordered[_shown(collection, query)[ordered]]


def _shown(collection: Collection, query: Query) -> npt.NDArray[np.bool_]:
    """(N,) whether an image passes the filter."""
    labels = collection.data.labels
    shown = np.ones(len(collection), dtype=np.bool_)
    if query.name is not None:
        shown &= labels == collection.classes[query.name]
    if query.label:
        shown &= (labels >= 0) == (query.label == "known")
    if query.split is not None:
        shown &= collection.places(query.split) >= 0
    return shown
