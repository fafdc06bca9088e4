"""Prototypes and outliers of each class: the core of `prototypes`, `outliers` and `mixed`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmsel.errors import BudgetError, OptionError
from fmsel.metrics.scores import class_ranking, typical_first
from fmsel.seeds import generator
from fmsel.selection.pool.classes import apportion, even_shares, interleave, members
from fmsel.selection.pool.pool import IntArray, Pool


@dataclass(frozen=True)
class Band:
    """Percentiles of a class from its outlier end: 0 = the worst outlier, 100 = the best prototype.

    Outliers are the most extreme images inside the band, counted from its start; the whole range
    therefore gives the extreme tail, and 5-20 passes over the most extreme 5 %, where wrong labels
    and broken images gather.
    """

    start: float = 0.0
    stop: float = 100.0

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= 100:
            raise OptionError(
                f"the outlier band {self} must rise within 0..100 percent, such as 5-20"
            )

    def __str__(self) -> str:
        return f"{self.start:g}-{self.stop:g}"

    def places(self, n: int) -> IntArray:
        """Places in the band, of 0..n-1 from the outlier end; place i is percentile (i + 0.5)/n."""
        percent = (np.arange(n) + 0.5) / n * 100
        return np.flatnonzero((self.start <= percent) & (percent < self.stop))


EXTREME_TAIL = Band()


def prototype_order(
    pool: Pool, truth: IntArray, members: IntArray, metrics: Sequence[str]
) -> IntArray:
    """`members` of a class, ascending, from the best prototype to the worst outlier.

    Several metrics are averaged as ranks among `members`; of equals, the lower index comes first.
    """
    if not metrics:
        raise OptionError("name at least one metric to rank the images by")
    if not len(members):
        return members
    scores = [pool.score(metric)[members] for metric in metrics]
    return members[typical_first(class_ranking(scores, truth[members]))]


def extremes(
    pool: Pool,
    truth: IntArray,
    batch_size: int,
    seed: int,
    *,
    ratio: float,
    band: Band,
    metrics: Sequence[str],
) -> IntArray:
    """`batch_size` images, the share `ratio` of them prototypes and the rest outliers.

    Classes get equal shares of the budget and of the prototypes; what does not divide goes to
    classes drawn by the seed, so that the total share is as near `ratio` as whole images allow.
    Within a class prototypes and outliers alternate in proportion; classes take turns.

    Returns:
        (batch_size,) indices in pick order.
    Raises:
        BudgetError: a class is too small, its band holds too few, or the two ends would overlap.
        OptionError: `ratio` is outside 0..1, or an unknown metric.
    """
    if not 0 <= ratio <= 1:
        raise OptionError(f"the share of prototypes must be within 0..1, got {ratio:g}")
    by_class = members(pool, truth)
    rng = generator(seed, "extremes")
    sizes = even_shares(batch_size, len(by_class), rng)
    n_prototypes = apportion(ratio * sizes, rng)
    picks = []
    for name, own, size, n in zip(pool.class_names, by_class, sizes, n_prototypes, strict=True):
        order = prototype_order(pool, truth, own, metrics)
        picks.append(_both_ends(order, int(n), int(size - n), band, name))
    return interleave(picks)


def _both_ends(order: IntArray, prototypes: int, outliers: int, band: Band, name: str) -> IntArray:
    """Picks of one class, whose images come in prototype order."""
    n = len(order)
    if max(prototypes, outliers) > n:
        kind = "prototypes" if prototypes > n else "outliers"
        raise BudgetError(
            f"class {name!r} has {n} images, fewer than the {max(prototypes, outliers)} {kind} "
            "asked of it; ask for fewer a class"
        )
    if prototypes + outliers > n:
        raise BudgetError(
            f"{prototypes} prototypes and {outliers} outliers would overlap in class {name!r}, "
            f"which has {n} images; ask for at most {n} together"
        )
    places = band.places(n)
    if outliers > len(places):
        raise BudgetError(
            f"the outlier band {band} of class {name!r} holds {len(places)} of its {n} images, "
            f"fewer than the {outliers} outliers asked for; widen it or ask for fewer"
        )
    if outliers and places[outliers - 1] >= n - prototypes:
        raise BudgetError(
            f"{outliers} outliers from the band {band} would overlap with the {prototypes} "
            f"prototypes of class {name!r}, which has {n} images; start the band lower"
        )
    return _in_proportion(order[:prototypes], order[::-1][places[:outliers]])


def _in_proportion(first: IntArray, second: IntArray) -> IntArray:
    """Merge two ordered lists so that every prefix holds about the same share of each."""
    place = [(np.arange(len(each)) + 0.5) / max(len(each), 1) for each in (first, second)]
    return np.concatenate([first, second])[np.argsort(np.concatenate(place), kind="stable")]
