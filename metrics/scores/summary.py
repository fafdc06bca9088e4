"""What is shown of a scores file: the ends of each class, and how far the metrics agree."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from fmsel.metrics.scores.artefact import Scores
from fmsel.metrics.scores.ranking import PREFERRED, class_ranking, typical_first


def default_ranking(
    scores: Scores, labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """`class_ranking` by the preferred metrics (or by all, where those are missing).

    Returns:
        (N,) in (0, 1), and the metrics used.
    """
    used = tuple(m for m in PREFERRED if m in scores.arrays) or tuple(scores.arrays)
    return class_ranking([scores.array(m) for m in used], labels), used


def extremes(
    ranking: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], count: int
) -> Mapping[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Per class, the `count` most and the `count` least prototypical images, most extreme first.

    They are what `fmsel split` takes from the same ranking.
    """
    ends = {}
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        order = members[typical_first(ranking[members])]
        ends[int(label)] = (order[:count], order[::-1][:count])
    return ends


def rank_correlations(scores: Scores) -> npt.NDArray[np.float64]:
    """(M, M) Spearman correlation of the metrics, in the order of `scores.arrays`."""
    arrays = list(scores.arrays.values())
    out = np.eye(len(arrays))
    for i, left in enumerate(arrays):
        for j, right in enumerate(arrays[:i]):
            out[i, j] = out[j, i] = spearmanr(left, right).statistic
    return out
