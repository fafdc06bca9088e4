"""`Pool`: the evidence about one data set that a strategy may read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fmsel.errors import DataError, OptionError
from fmsel.selection.geometry.backend import Backend, Local

if TYPE_CHECKING:  # the images' package, which this needs, takes long to import
    from fmsel.embeddings.vectors.shards import Rows

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.floating]
NONE: IntArray = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """N images and what is known of them; all indices are global to the data set.

    Labels of images that nobody has labelled are not here: strategies that read them all the same
    (oracles) are given them apart, as the `truth` of `Strategy.query`.

    Attributes:
        n: N.
        class_names: C names; empty where they are not known.
        labels: (N,) int64 held so far, in [0, C), -1 elsewhere; None = none are held.
        labeled: (L,) distinct images that are with an annotator or have come back without a label;
            like those with a label they are not chosen again, and count as covered.
        candidates: (M,) distinct images that may be chosen; None = all N.
        groups: (N,) int64; of one group (a patient, a video, near-duplicates) at most one image is
            chosen, and none where one is labelled already. None = every image is its own group.
        scores: metric name -> (N,) floats, finite, higher = more prototypical.
        features: (N, D) float32, finite; may be memory-mapped, in shards too.
        probabilities: (N, C) of a trained network, in 0..1, rows sum to 1.
        history: (E, N) int64 classes that a run gave every image at its last E evaluations.
        backend: where passes over all images run; the choice is the same by every one.
    """

    n: int
    class_names: tuple[str, ...] = ()
    labels: IntArray | None = None
    labeled: IntArray = field(default_factory=NONE.copy)
    candidates: IntArray | None = None
    groups: IntArray | None = None
    scores: Mapping[str, FloatArray] = field(default_factory=dict)
    features: "Rows | None" = None
    probabilities: FloatArray | None = None
    history: IntArray | None = None
    backend: Backend = field(default_factory=Local)

    def __post_init__(self) -> None:
        self._check_labels()
        for name, scores in self.scores.items():
            self._check_rows(scores, (self.n,), f"the scores of metric {name!r}")
        self._check_indices("candidates", self.candidates)
        self._check_indices("labelled images", self.labeled)
        for what in ("groups", "features", "probabilities"):
            if (array := getattr(self, what)) is not None:
                self._check_rows(array, (self.n, *array.shape[1:]), f"the {what}")
        if self.history is not None and self.history.shape[1:] != (self.n,):
            raise DataError(f"the history of {self.n} images has shape {self.history.shape}")

    def _check_labels(self) -> None:
        if self.labels is None:
            return
        classes = len(self.class_names)
        if self.labels.shape != (self.n,):
            raise DataError(f"a pool of {self.n} images has labels of shape {self.labels.shape}")
        if self.n and not -1 <= self.labels.min() <= self.labels.max() < classes:
            raise DataError(
                f"a pool of {classes} classes needs labels in -1..{classes - 1}, "
                f"got {self.labels.min()}..{self.labels.max()}"
            )

    @staticmethod
    def _check_rows(array: "npt.NDArray[Any] | Rows", shape: tuple[int, ...], what: str) -> None:
        """Only one-dimensional arrays are searched for NaN: embeddings are checked when made."""
        flat = isinstance(array, np.ndarray) and array.ndim == 1
        faulty = int((~np.isfinite(array)).sum()) if flat else 0
        if array.shape != shape or faulty:
            raise DataError(
                f"{what} must be {shape[0]} finite numbers or rows, one an image, "
                f"got shape {array.shape} with {faulty} not finite"
            )

    def _check_indices(self, what: str, indices: IntArray | None) -> None:
        if indices is None or not len(indices):
            return
        if len(np.unique(indices)) < len(indices):
            raise DataError(f"the {what} of a pool must be distinct, got an index twice")
        if not 0 <= indices.min() <= indices.max() < self.n:
            raise DataError(
                f"the {what} of a pool of {self.n} images must be in 0..{self.n - 1}, "
                f"got {indices.min()}..{indices.max()}"
            )

    def __len__(self) -> int:
        return self.n

    @cached_property
    def held(self) -> IntArray:
        """(L,) ascending images that are labelled or being labelled."""
        if self.labels is None:
            return np.sort(self.labeled)
        return np.union1d(np.flatnonzero(self.labels >= 0), self.labeled)

    @cached_property
    def available(self) -> IntArray:
        """(M,) ascending images that may be chosen: not held, and of no group of a held one."""
        free = np.zeros(self.n, dtype=bool)
        free[slice(None) if self.candidates is None else self.candidates] = True
        free[self.held] = False
        if self.groups is not None and len(self.held):
            free &= ~np.isin(self.groups, self.groups[self.held])
        return np.flatnonzero(free)

    @cached_property
    def population(self) -> IntArray:
        """(P,) ascending images that the choice should stand for: candidates and held ones."""
        if self.candidates is None:
            return np.arange(self.n, dtype=np.int64)
        return np.union1d(self.candidates, self.held)

    @cached_property
    def most(self) -> int:
        """How many images can be chosen: one of each group of the available ones."""
        if self.groups is None:
            return len(self.available)
        return len(np.unique(self.groups[self.available]))

    def score(self, metric: str) -> FloatArray:
        """(N,) scores of one metric; OptionError names the metrics there are."""
        if metric not in self.scores:
            there = ", ".join(self.scores) or "none"
            raise OptionError(
                f"there are no scores of a metric {metric!r} (the metrics here: {there}); "
                "choose among them or run `fmsel score` with it"
            )
        return self.scores[metric]

    def vectors(self, indices: IntArray) -> npt.NDArray[np.float32]:
        """(len(indices), D) float32 features in memory; DataError where the pool has none."""
        if self.features is None:
            raise DataError(
                "choosing by embeddings needs some; make them with `fmsel embed` and name the "
                "file with --embeddings"
            )
        return np.ascontiguousarray(self.features[indices], dtype=np.float32)
