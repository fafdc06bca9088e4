"""`Pool`: the evidence about one data set that a strategy may read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fmsel.errors import DataError, OptionError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """N images and what is known of them; all indices are global to the data set.

    Attributes:
        labels: (N,) int64 in [0, C), or -1 where unknown.
        class_names: C names.
        scores: metric name -> (N,) floats, finite, higher = more prototypical.
        candidates: (M,) distinct indices that may be chosen; None = all N.
    """

    labels: IntArray
    class_names: tuple[str, ...]
    scores: Mapping[str, FloatArray] = field(default_factory=dict)
    candidates: IntArray | None = None

    def __post_init__(self) -> None:
        n, classes = len(self), len(self.class_names)
        if n and not -1 <= self.labels.min() <= self.labels.max() < classes:
            raise DataError(
                f"a pool of {classes} classes needs labels in -1..{classes - 1}, "
                f"got {self.labels.min()}..{self.labels.max()}"
            )
        for name, scores in self.scores.items():
            if scores.shape != (n,) or not np.isfinite(scores).all():
                raise DataError(
                    f"the scores of metric {name!r} must be {n} finite numbers, one an image, "
                    f"got shape {scores.shape} with {(~np.isfinite(scores)).sum()} not finite"
                )
        if self.candidates is not None:
            self._check_candidates(self.candidates, n)

    @staticmethod
    def _check_candidates(candidates: IntArray, n: int) -> None:
        if len(np.unique(candidates)) < len(candidates):
            raise DataError("the candidates of a pool must be distinct, got an index twice")
        if len(candidates) and not 0 <= candidates.min() <= candidates.max() < n:
            raise DataError(
                f"the candidates of a pool of {n} images must be in 0..{n - 1}, "
                f"got {candidates.min()}..{candidates.max()}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def available(self) -> IntArray:
        """(M,) ascending indices that may be chosen."""
        if self.candidates is None:
            return np.arange(len(self), dtype=np.int64)
        return np.sort(self.candidates)

    def score(self, metric: str) -> FloatArray:
        """(N,) scores of one metric; OptionError names the metrics there are."""
        if metric not in self.scores:
            there = ", ".join(self.scores) or "none"
            raise OptionError(
                f"there are no scores of a metric {metric!r} (the metrics here: {there}); "
                "choose among them or run `fmsel score` with it"
            )
        return self.scores[metric]

    def members(self) -> list[IntArray]:
        """Ascending available indices of each of the C classes.

        Raises:
            DataError: no image has a label.
        """
        available = self.available
        labels = self.labels[available]
        if not (labels >= 0).any():
            raise DataError(
                "choosing within each class needs labels, and these images have none; "
                "use `--random N`, which reads no labels"
            )
        return [available[labels == label] for label in range(len(self.class_names))]
