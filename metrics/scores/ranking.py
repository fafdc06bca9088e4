"""Ranks and percentiles of prototypicality scores."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

FloatArray = npt.NDArray[np.floating]


def percentile(scores: FloatArray) -> npt.NDArray[np.float64]:
    """Rank of each score as a share in (0, 1): `(rank - 0.5) / N`, ties share their mean rank.

    Args:
        scores: (N,), higher = more prototypical.
    Returns:
        (N,), 0 = the worst outlier, 1 = the best prototype.
    """
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


def rank_average(scores: Sequence[FloatArray]) -> npt.NDArray[np.float64]:
    """Mean of the percentiles of several metrics, (N,) each; in (0, 1)."""
    return np.asarray(np.mean([percentile(each) for each in scores], axis=0))
