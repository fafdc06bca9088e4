"""`percentile_band`: uniform within a band of percentiles of each class's ranking.

FixMatch (Sohn et al., 2020, section 4.4) cuts the ordering of CIFAR-10 by prototypicality into
eight buckets and labels one image a class out of one of them; `eighth` gives these bands.
"""

from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar

import numpy as np

from fmsel.errors import OptionError
from fmsel.metrics.scores import PREFERRED
from fmsel.seeds import generator
from fmsel.selection.pool import IntArray, LabelUse, Oracle, Pool
from fmsel.selection.pool.classes import check_share, class_turns, members, shares, take_in_turn
from fmsel.selection.pool.extremes import Band, prototype_order


@dataclass(frozen=True)
class PercentileBand(Oracle):
    """An oracle: ranking within each class reads the label of every image.

    Percentiles count from the outlier end (0) to the best prototype (100) of a class, images that
    are labelled already among them.
    """

    LABEL_USE: ClassVar[LabelUse] = "formula"

    start: float = 25.0  # with `stop`, the middle half
    stop: float = 75.0
    metrics: tuple[str, ...] = PREFERRED

    def __post_init__(self) -> None:
        Band(self.start, self.stop)  # refuses what is no band

    def _pick_by_class(self, pool: Pool, batch_size: int, seed: int, truth: IntArray) -> IntArray:
        band = Band(self.start, self.stop)
        turns = class_turns(pool, truth, batch_size, generator(seed, "shares of classes"))
        by_class = members(pool, truth, pool.population)
        drawn = []
        for label, (own, share) in enumerate(zip(by_class, shares(pool, turns), strict=True)):
            rising = prototype_order(pool, truth, own, self.metrics)[::-1]
            inside = np.intersect1d(rising[band.places(len(own))], pool.available)
            check_share(pool.class_names[label], len(inside), share, f"the band {band} of ")
            drawn.append(generator(seed, "percentile band", label).permutation(inside))
        return take_in_turn(pool, turns, [repeat(iter(order)) for order in drawn])


def eighth(k: int) -> PercentileBand:
    """Bucket `k` of FixMatch's eight, 0 = the outliers to 7 = the prototypes.

    Raises:
        OptionError: there is no such bucket.
    """
    if k not in range(8):
        raise OptionError(f"the eight buckets are 0 (outliers) to 7 (prototypes), got {k}")
    return PercentileBand(start=12.5 * k, stop=12.5 * (k + 1))
