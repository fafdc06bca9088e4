"""How good is each metric? Agreement with each other, with references, and what it costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from fmsel.datasets.published import PublishedSets
from fmsel.metrics.scores.agreement import (
    Estimate,
    bootstrap_correlations,
    pearson_matrix,
    resamples_for,
    spearman_matrix,
    within_class_matrix,
)
from fmsel.metrics.scores.artefact import Scores
from fmsel.metrics.scores.ranking import FloatArray, percentile, within_class_percentile
from fmsel.metrics.scores.reference import Reference
from fmsel.metrics.scores.summary import CONSENSUS, compute_cost, consensus, label_use

TAIL = 0.02  # share of the images at either end of a ranking
LOWEST = 0.1  # share of the images that a reference calls doubtful, and more where they tie
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ReferenceQuality:
    """One metric beside a reference.

    Attributes:
        overall: Spearman correlation.
        within_class: correlation of the within-class percentiles.
        lift_lowest, lift_highest: how many times as many of the images at the metric's lower and
            upper end are in the reference's lowest tenth, as of all images.
    """

    overall: Estimate
    within_class: Estimate
    lift_lowest: float
    lift_highest: float


@dataclass(frozen=True, kw_only=True)
class SetsQuality:
    """One metric beside published sets that are ordered by prototypicality.

    Attributes:
        spearman: of the set's number and the within-class percentile of its images.
        first, last: mean within-class percentile of the images of the first and of the last set.
    """

    spearman: float
    first: float
    last: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Quality:
    """The figures of `fmsel scores report`; NaN where an array is constant.

    Attributes:
        label_use, cost: metric -> "none", "training" or "formula"; compute seconds, or None.
        spearman, pearson, within_class: (M, M), metrics in the order of `metrics`.
        with_others: metric -> Spearman correlation with the consensus of the other metrics.
        references: name of the reference -> metric -> figures.
        sets: metric -> figures; empty where no published sets were compared.
    `label_use`, `references` and `sets` have a row for the consensus of all metrics too.
    """

    metrics: tuple[str, ...]
    label_use: Mapping[str, str]
    cost: Mapping[str, float | None]
    spearman: Matrix
    pearson: Matrix
    within_class: Matrix
    with_others: Mapping[str, float]
    references: Mapping[str, Mapping[str, ReferenceQuality]]
    sets: Mapping[str, SetsQuality]


def measure_quality(
    scores: Scores,
    labels: npt.NDArray[np.int64],
    references: Sequence[Reference] = (),
    sets: PublishedSets | None = None,
    advance: Callable[[float], None] = lambda _: None,
) -> Quality:
    """Measure every metric of a scores file.

    Args:
        scores: N images.
        labels: (N,), -1 counts as a class of its own.
        references: what to compare with; each name once.
        sets: published sets that match the images.
        advance: told of each resample, `bootstrap_work(references)` in all.
    """
    arrays = list(scores.arrays.values())
    ranked = with_consensus(scores)
    return Quality(
        metrics=tuple(scores.arrays),
        label_use={name: label_use(scores, [name]) for name in scores.arrays}
        | {CONSENSUS: label_use(scores, scores.arrays)},
        cost={name: compute_cost(record) for name, record in scores.records.items()},
        spearman=spearman_matrix(arrays),
        pearson=pearson_matrix(arrays),
        within_class=within_class_matrix(arrays, labels),
        with_others=_with_others(scores),
        references={
            each.name: reference_quality(ranked, labels, each, advance) for each in references
        },
        sets={name: sets_quality(a, labels, sets) for name, a in ranked.items()} if sets else {},
    )


def bootstrap_work(references: Sequence[Reference]) -> int:
    """Number of resamples that `measure_quality` draws: overall and within class."""
    return sum(2 * resamples_for(len(each.values)) for each in references)


def with_consensus(scores: Scores) -> dict[str, FloatArray]:
    """The arrays of all metrics, and their consensus."""
    return {**scores.arrays, CONSENSUS: consensus(scores)}


def reference_quality(
    arrays: Mapping[str, FloatArray],
    labels: npt.NDArray[np.int64],
    reference: Reference,
    advance: Callable[[float], None] = lambda _: None,
) -> dict[str, ReferenceQuality]:
    """Compare (N,) arrays with a reference for some of the N images; (N,) labels."""
    rows = [array[reference.indices] for array in arrays.values()]
    values, classes = reference.values, labels[reference.indices]
    overall = bootstrap_correlations(rows, values, np.zeros_like(classes), advance=advance)
    within = bootstrap_correlations(rows, values, classes, advance=advance)
    found = {}
    for name, row, one, other in zip(arrays, rows, overall, within, strict=True):
        lowest, highest = lift(row, values)
        found[name] = ReferenceQuality(
            overall=one, within_class=other, lift_lowest=lowest, lift_highest=highest
        )
    return found


def lift(scores: FloatArray, reference: FloatArray) -> tuple[float, float]:
    """Share of the reference's lowest tenth at either end of a ranking, over its share of all.

    Args:
        scores, reference: (K,); equal scores are in the order of their indices.
    Returns:
        lift of the lowest and of the highest `TAIL` of the scores.
    """
    doubtful = reference <= np.quantile(reference, LOWEST, method="inverted_cdf")
    order = np.argsort(scores, kind="stable")
    count = max(1, round(TAIL * len(scores)))
    share = doubtful.mean()
    return float(doubtful[order[:count]].mean() / share), float(
        doubtful[order[-count:]].mean() / share
    )


def sets_quality(
    scores: FloatArray, labels: npt.NDArray[np.int64], sets: PublishedSets
) -> SetsQuality:
    """Compare (N,) scores with sets ordered from outliers to prototypes."""
    ranks = within_class_percentile(scores, labels)[sets.indices]  # (S, M)
    numbers = np.repeat(np.arange(len(ranks)), ranks.shape[1])
    varies = np.ptp(ranks) > 0
    return SetsQuality(
        spearman=float(spearmanr(numbers, ranks.ravel()).statistic) if varies else np.nan,
        first=float(ranks[0].mean()),
        last=float(ranks[-1].mean()),
    )


def _with_others(scores: Scores) -> dict[str, float]:
    ranks = {name: percentile(array) for name, array in scores.arrays.items()}
    total = np.sum(list(ranks.values()), axis=0)
    if len(ranks) < 2:
        return dict.fromkeys(ranks, np.nan)
    return {
        name: float(spearman_matrix([each, np.round(total - each, 9)])[0, 1])
        for name, each in ranks.items()
    }
