"""Prototypes and outliers of each class: the core of `prototypes`, `outliers` and `mixed`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fmsel.errors import BudgetError, OptionError
from fmsel.metrics.scores import class_ranking, typical_first
from fmsel.seeds import generator
from fmsel.selection.pool.classes import (
    apportion,
    class_turns,
    in_turn,
    members,
    take_in_turn,
)
from fmsel.selection.pool.eligible import Eligible
from fmsel.selection.pool.pool import IntArray, Pool
from fmsel.selection.pool.strategy import Choice


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
            raise OptionError(f"the band {self} must rise within 0..100 percent, such as 5-20")

    def __str__(self) -> str:
        return f"{self.start:g}-{self.stop:g}"

    def places(self, n: int) -> IntArray:
        """Places in the band, of 0..n-1 from the outlier end; place i is percentile (i + 0.5)/n."""
        percent = (np.arange(n) + 0.5) * 100 / n
        return np.flatnonzero((self.start <= percent) & (percent < self.stop))


EXTREME_TAIL = Band()
PROTOTYPE, OUTLIER = 0, 1


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
) -> Choice:
    """`batch_size` new images, the share `ratio` of them prototypes and the rest outliers.

    Classes get so many that, with the labels held already, all have equally many; what does not
    divide goes to classes drawn by the seed. The new images hold equal shares of prototypes in
    every class, and a total share as near `ratio` as whole images allow. Within a class prototypes
    and outliers alternate in proportion; classes take turns. Ranks and the band are those of the
    whole population, so that they stay the same as labels come in.

    Raises:
        BudgetError: a class is too small, its band holds too few, or the two ends would overlap.
        OptionError: `ratio` is outside 0..1, or an unknown metric.
    """
    rng = generator(seed, "extremes")
    turns = class_turns(pool, truth, batch_size, rng)
    orders = [
        prototype_order(pool, truth, own, metrics) for own in members(pool, truth, pool.population)
    ]
    names = [f"class {name!r}" for name in pool.class_names]
    free = Eligible(pool).mask
    return take_ends(pool, turns, wishes(turns, orders, free, names, ratio, band, rng))


class Wishes(NamedTuple):
    """What each turn of each class wishes for."""

    orders: list[list[Iterator[int]]]  # of each class, what to take the first eligible image of
    kinds: list[IntArray]  # of each class, PROTOTYPE or OUTLIER


def take_ends(pool: Pool, turns: IntArray, wishes: Wishes) -> Choice:
    """The images that `take_in_turn` gives, and which of them are prototypes."""
    return Choice(
        take_in_turn(pool, turns, wishes.orders), in_turn(turns, wishes.kinds) == PROTOTYPE
    )


def wishes(
    turns: IntArray,
    orders: Sequence[IntArray],
    free: npt.NDArray[np.bool_],
    names: Sequence[str],
    ratio: float,
    band: Band,
    rng: np.random.Generator,
) -> Wishes:
    """For each turn of each class, an iterator of prototypes or of outliers, as `ratio` asks.

    Args:
        turns: (B,) the class of each pick; a class may be any set of images.
        orders: of each class, its images from the best prototype to the worst outlier.
        free: (N,) which images may be chosen.
        names: of each class with its kind, such as "class 'cat'".
        rng: says which classes get the prototypes that do not divide.
    Raises:
        BudgetError: as `extremes`.
        OptionError: `ratio` is outside 0..1.
    """
    if not 0 <= ratio <= 1:
        raise OptionError(f"the share of prototypes must be within 0..1, got {ratio:g}")
    sizes = np.bincount(turns, minlength=len(orders))
    prototypes = apportion(ratio * sizes, rng)
    kinds = [_in_proportion(n, size - n) for n, size in zip(prototypes, sizes, strict=True)]
    ends = [
        _both_ends(order, free[order], kind, band, name)
        for order, kind, name in zip(orders, kinds, names, strict=True)
    ]
    return Wishes(ends, kinds)


def _both_ends(
    order: IntArray,
    free: npt.NDArray[np.bool_],
    kinds: IntArray,
    band: Band,
    name: str,
) -> list[Iterator[int]]:
    """For each pick of one class, the images to take the first eligible one of.

    Args:
        order: (n,) the class, best prototype first.
        free: (n,) which of them are available.
        kinds: of each pick.
        name: of the class with its kind.
    """
    outliers = int(np.count_nonzero(kinds == OUTLIER))
    prototypes = len(kinds) - outliers
    ranks = np.flatnonzero(free[::-1])  # from the outlier end
    in_band = np.intersect1d(band.places(len(order)), ranks, assume_unique=True)
    _check_ends(ranks, in_band, prototypes, outliers, band, name)
    rising = order[::-1]
    # Groups may carry the prototypes further down, but never past where the outliers begin.
    down_to = in_band[0] if outliers else 0
    ends = iter(order[: len(order) - down_to].tolist()), iter(rising[in_band].tolist())
    return [ends[kind] for kind in kinds]


def _check_ends(
    ranks: IntArray, in_band: IntArray, prototypes: int, outliers: int, band: Band, name: str
) -> None:
    """BudgetError where a class, whose available images have these ranks, cannot give so many."""
    n = len(ranks)
    if max(prototypes, outliers) > n:
        kind = "prototypes" if prototypes > n else "outliers"
        raise BudgetError(
            f"{name} has {n} images, fewer than the {max(prototypes, outliers)} {kind} "
            "asked of it; ask for fewer a class"
        )
    if prototypes + outliers > n:
        raise BudgetError(
            f"{prototypes} prototypes and {outliers} outliers would overlap in {name}, "
            f"which has {n} images; ask for at most {n} together"
        )
    if outliers > len(in_band):
        raise BudgetError(
            f"the outlier band {band} of {name} holds {len(in_band)} of its {n} images, "
            f"fewer than the {outliers} outliers asked for; widen it or ask for fewer"
        )
    if prototypes and outliers and in_band[outliers - 1] >= ranks[-prototypes]:
        raise BudgetError(
            f"{outliers} outliers from the band {band} would overlap with the {prototypes} "
            f"prototypes of {name}, which has {n} images; start the band lower"
        )


def _in_proportion(first: int, second: int) -> IntArray:
    """(first + second,) so many 0 and 1, every prefix with about the same share of each."""
    place = [(np.arange(n) + 0.5) / max(n, 1) for n in (first, second)]
    kind = np.repeat([0, 1], [first, second])
    return np.asarray(kind[np.argsort(np.concatenate(place), kind="stable")])
