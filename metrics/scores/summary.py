"""What is shown of a scores file: the ends of each class, and how far the metrics agree."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fmsel.metrics.scores.agreement import spearman_matrix
from fmsel.metrics.scores.artefact import MetricRecord, Scores
from fmsel.metrics.scores.ranking import PREFERRED, class_ranking, rank_average, typical_first

CONSENSUS = "consensus"  # what tables call the mean rank of all metrics
MOST_NAMED = 3  # metrics whose names fit a heading
LABEL_USES = ("none", "training", "formula")  # the later reads more


def default_ranking(
    scores: Scores, labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """`class_ranking` by the preferred metrics (or by all, where those are missing).

    Returns:
        (N,) in (0, 1), and the metrics used.
    """
    used = tuple(m for m in PREFERRED if m in scores.arrays) or tuple(scores.arrays)
    return class_ranking([scores.array(m) for m in used], labels), used


def ranking_name(used: Sequence[str]) -> str:
    """What to call the mean rank of these metrics in a heading."""
    return " + ".join(used) if len(used) <= MOST_NAMED else f"mean rank of {len(used)} metrics"


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
    """(M, M) Spearman correlation of the metrics, in the order of `scores.arrays`.

    NaN where a metric is constant.
    """
    return spearman_matrix(list(scores.arrays.values()))


def consensus(scores: Scores) -> npt.NDArray[np.float64]:
    """(N,) in (0, 1), mean percentile over all metrics, each with the same weight.

    Nothing is fitted, and metrics of one ensemble, which err together, each count in full.
    """
    return rank_average(list(scores.arrays.values()))


def label_use(scores: Scores, metrics: Iterable[str]) -> str:
    """The most that any of the metrics reads of the labels: "none", "training" or "formula"."""
    return max((scores.records[name].label_use for name in metrics), key=LABEL_USES.index)


def compute_cost(record: MetricRecord) -> float | None:
    """Seconds of computing that a metric rests on; None where its file does not say.

    That is its formula and all of its evidence, which it may share with other metrics.
    """
    if not record.compute_seconds:
        return None
    return record.seconds + sum(record.compute_seconds.values())


def provenances(scores: Scores, metrics: Iterable[str] | None = None) -> list[str]:
    """Where ranks that came with fmsel are from, each sentence once; none of scores made here.

    Args:
        metrics: None = all.
    """
    records = (scores.records[name] for name in (scores.arrays if metrics is None else metrics))
    return list(dict.fromkeys(record.published for record in records if record.published))


def made_with_other_labels(scores: Scores, labels_sha256: str) -> list[str]:
    """The metrics that were made with other labels than those of this hash."""
    return [
        name
        for name, record in scores.records.items()
        if record.label_use != "none" and record.labels_sha256 != labels_sha256
    ]
