"""`curriculum`: from the easiest images of each class to its middle, in evenly spaced steps.

Easiest first is curriculum learning (Bengio et al., 2009); that a small data set is served best by
its easy images, a large one by its hard ones, is Sorscher et al. (2022, arXiv 2206.14486).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fmsel.errors import OptionError
from fmsel.metrics.scores import PREFERRED
from fmsel.seeds import generator
from fmsel.selection.pool import Eligible, IntArray, LabelUse, Oracle, Pool
from fmsel.selection.pool.classes import check_share, class_turns, in_turn, members, shares
from fmsel.selection.pool.extremes import Band, prototype_order


@dataclass(frozen=True)
class Curriculum(Oracle):
    """An oracle: ranking within each class reads the label of every image.

    Each class's images run from its best prototype to percentile `until` (0 = the worst outlier).
    The steps between them depend on the budget, so a prefix holds easier images than the choice of
    that smaller budget.
    """

    LABEL_USE: ClassVar[LabelUse] = "formula"
    NESTED: ClassVar[bool] = False

    until: float = 50.0  # the median: whether to go further is what a sweep of it asks
    metrics: tuple[str, ...] = PREFERRED

    def __post_init__(self) -> None:
        if not 0 <= self.until < 100:
            raise OptionError(
                f"a curriculum ends at a percentile of 0 or more and below 100, got {self.until:g}"
            )

    def _pick_by_class(self, pool: Pool, batch_size: int, seed: int, truth: IntArray) -> IntArray:
        easy = Band(self.until, 100)
        turns = class_turns(pool, truth, batch_size, generator(seed, "shares of classes"))
        by_class = members(pool, truth, pool.population)
        eligible = Eligible(pool)
        picks = []
        for name, own, share in zip(pool.class_names, by_class, shares(pool, turns), strict=True):
            rising = prototype_order(pool, truth, own, self.metrics)[::-1]
            order = rising[easy.places(len(own))][::-1]
            order = _one_a_group(pool, order[eligible.mask[order]])
            check_share(name, len(order), share, f"the band {easy} of ")
            picks.append(order[_evenly_spaced(len(order), int(share))])
            eligible.take_first(picks[-1], len(picks[-1]))
        return in_turn(turns, picks)


def _one_a_group(pool: Pool, order: IntArray) -> IntArray:
    """Of every group only its first image in `order`."""
    if pool.groups is None:
        return order
    return order[np.sort(np.unique(pool.groups[order], return_index=True)[1])]


def _evenly_spaced(n: int, count: int) -> IntArray:
    """(count,) places 0..n-1, from the first to the last where there are two or more."""
    return np.arange(count) * (n - 1) // max(count - 1, 1)
