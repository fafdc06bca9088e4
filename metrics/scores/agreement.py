"""How far rankings agree: correlations, and bootstrap intervals of them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fmsel.metrics.scores.ranking import FloatArray, percentile, within_class_percentile
from fmsel.seeds import generator

RESAMPLES, FEW_RESAMPLES = 1000, 200  # the fewer for many images, whose intervals are narrow
MANY_IMAGES = 10_000
CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A correlation and its percentile bootstrap interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


def pearson_matrix(arrays: Sequence[FloatArray]) -> npt.NDArray[np.float64]:
    """(M, M) Pearson correlations of M arrays (N,); NaN where either is constant."""
    rows = np.asarray(arrays, dtype=np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    varies = np.ptp(rows, axis=1) > 0
    lengths = np.where(varies, np.linalg.norm(rows, axis=1), np.nan)
    rows /= lengths[:, None]
    matrix: npt.NDArray[np.float64] = np.clip(rows @ rows.T, -1, 1)
    matrix[varies, varies] = 1
    return matrix


def spearman_matrix(arrays: Sequence[FloatArray]) -> npt.NDArray[np.float64]:
    """(M, M) Spearman correlations of M arrays (N,); NaN where either is constant."""
    return pearson_matrix([percentile(each) for each in arrays])


def within_class_matrix(
    arrays: Sequence[FloatArray], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(M, M) correlations of the within-class percentiles of M arrays (N,), all classes pooled."""
    return pearson_matrix([within_class_percentile(each, labels) for each in arrays])


def resamples_for(count: int) -> int:
    """Number of resamples for a reference of `count` images."""
    return RESAMPLES if count <= MANY_IMAGES else FEW_RESAMPLES


def _silent(_: float) -> None:
    """Report no progress."""


def bootstrap_correlations(
    scores: Sequence[FloatArray],
    reference: FloatArray,
    groups: npt.NDArray[np.int64],
    *,
    seed: int = 0,
    advance: Callable[[float], None] = _silent,
) -> list[Estimate]:
    """Correlation of ranks within groups with a reference, for several metrics, with intervals.

    Images are drawn with replacement (Efron 1979) and ranked anew in every resample; the same
    resamples serve all metrics. With a single group it is Spearman's coefficient.

    Args:
        scores: M arrays (K,).
        reference: (K,).
        groups: (K,) ranks are taken within each; all zeros for one group.
        seed: of the resamples.
        advance: told of each resample, `resamples_for(K)` in all.
    Returns:
        M estimates in [-1, 1].
    """
    _, numbers = np.unique(groups, return_inverse=True)
    everyone = np.ones(len(reference))
    target, ranked = _Ranks(reference, numbers), [_Ranks(each, numbers) for each in scores]
    values = _correlations(ranked, target, everyone)
    rng = generator(seed, "bootstrap")
    drawn = np.empty((resamples_for(len(reference)), len(scores)))
    for row in drawn:
        chosen = rng.integers(len(reference), size=len(reference))
        weights = np.bincount(chosen, minlength=len(reference)).astype(np.float64)
        row[:] = _correlations(ranked, target, weights)
        advance(1)
    return [_estimate(value, each) for value, each in zip(values, drawn.T, strict=True)]


def _estimate(value: float, drawn: npt.NDArray[np.float64]) -> Estimate:
    # A resample in which an array is constant has no correlation, and counts for nothing.
    drawn = drawn[np.isfinite(drawn)]
    if not (np.isfinite(value) and len(drawn)):
        return Estimate(value, np.nan, np.nan)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high))


class _Ranks:
    """The order of one array's values in groups, sorted once for all resamples."""

    def __init__(self, values: FloatArray, groups: npt.NDArray[np.int64]) -> None:
        self.order = np.lexsort((values, groups))
        self.groups = groups
        self.sorted_groups = groups[self.order]
        inner = (np.diff(values[self.order]) != 0) | (np.diff(self.sorted_groups) != 0)
        starts = np.concatenate([[0], np.flatnonzero(inner) + 1])
        lengths = np.diff(np.append(starts, len(values)))
        self.tied = len(starts) < len(values)
        self.start = np.repeat(starts, lengths)  # (K,) where each run of equals begins
        self.end = self.start + np.repeat(lengths, lengths)

    def midranks(self, shares: FloatArray) -> npt.NDArray[np.float64]:
        """(K,) midranks, in sorted order, as shares of a group; groups follow one another.

        Args:
            shares: (K,) how often each image is in the sample, over its group's total.
        """
        total = np.concatenate([[0.0], np.cumsum(shares[self.order])])
        low, high = (total[self.start], total[self.end]) if self.tied else (total[:-1], total[1:])
        return np.asarray((low + high) / 2)


def _correlations(
    ranked: Sequence[_Ranks], target: _Ranks, weights: npt.NDArray[np.float64]
) -> list[float]:
    """Pearson correlations of within-group percentiles in the sample that `weights` describes."""
    totals = np.bincount(target.groups, weights=weights)
    shares = weights / np.maximum(totals, 1)[target.groups]
    # Each group that is there adds 1 to the running sum, which the next one must not keep.
    before = np.asarray(
        np.cumsum(totals > 0) - (totals > 0) + 0.5
    )  # a percentile's mean is 1/2 in any group

    def centred(ranks: _Ranks) -> npt.NDArray[np.float64]:
        return np.asarray(ranks.midranks(shares) - before[ranks.sorted_groups])

    reference = np.empty(len(weights))
    reference[target.order] = centred(target)
    weighted = weights * reference
    length = np.sqrt(weighted @ reference)
    found = []
    for ranks in ranked:
        mine = centred(ranks)
        own = np.sqrt(mine**2 @ weights[ranks.order])
        defined = min(own, length) > 1e-9
        value = mine @ weighted[ranks.order] / (own * length) if defined else np.nan
        found.append(float(np.clip(value, -1, 1)))
    return found
