"""Ranks and percentiles of prototypicality scores."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

PREFERRED = ("self-confidence", "epoch-confidence")  # ranked by where nobody names a metric


def percentile(scores: FloatArray) -> npt.NDArray[np.float64]:
    """Rank of each score as a share in (0, 1): `(rank - 0.5) / N`, ties share their mean rank.

    Args:
        scores: (N,), higher = more prototypical.
    Returns:
        (N,), 0 = the worst outlier, 1 = the best prototype.
    """
    from scipy.stats import rankdata  # a second to import, and few commands rank

    return np.asarray((rankdata(scores) - 0.5) / max(len(scores), 1))


def within_class_percentile(
    scores: FloatArray, labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """`percentile` among the images of the same label (-1 counts as a class of its own)."""
    out = np.empty(len(scores), dtype=np.float64)
    for label in np.unique(labels):
        members = labels == label
        out[members] = percentile(scores[members])
    return out


def class_ranking(
    scores: Sequence[FloatArray], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Mean within-class percentile of several metrics: what tables, galleries and splits rank by.

    Args:
        scores: at least one (N,) array, higher = more prototypical.
        labels: (N,).
    Returns:
        (N,) in (0, 1).
    """
    means = np.mean([within_class_percentile(each, labels) for each in scores], axis=0)
    # Equal means differ in their last bits; rounding makes them the ties that they are.
    return np.asarray(np.round(means, 12))


def typical_first(ranking: FloatArray) -> npt.NDArray[np.int64]:
    """(N,) places from the best prototype to the worst outlier; of equals, the lower place first.

    The worst outlier is therefore the last of all, and of equals the higher place.
    """
    return np.argsort(-ranking, kind="stable")


def rank_average(scores: Sequence[FloatArray]) -> npt.NDArray[np.float64]:
    """Mean of the percentiles of several metrics, (N,) each; in (0, 1)."""
    return np.asarray(np.mean([percentile(each) for each in scores], axis=0))
