"""`density_mix`: of each cluster images from its densest and from its sparsest places."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fmsel.errors import OptionError
from fmsel.seeds import generator
from fmsel.selection.geometry.clusters import Clustered, clustered
from fmsel.selection.geometry.typicality import typicality
from fmsel.selection.pool import Choice, Eligible, Evidence, IntArray, LabelUse, Pool, Strategy
from fmsel.selection.pool.classes import even_turns
from fmsel.selection.pool.extremes import EXTREME_TAIL, Band, take_ends, wishes


@dataclass(frozen=True)
class DensityMix(Strategy):
    """`mixed` where nobody has labels: k-means clusters of features of length 1 stand for the
    classes, and typicality inside the cluster (Hacohen et al., ICML 2022) for the scores.

    Clusters get so many images that, with those held already, they have equally many, as far as
    they are large enough. Of a group only the most typical image may be chosen.

    Attributes:
        clusters: how many; None = the number of classes.
        ratio: share of prototypes in 0..1; the rest are outliers.
        outlier_band: percentiles of each cluster from its sparsest image; outliers are the sparsest
            images inside.
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NESTED: ClassVar[bool] = False
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)
    DISTRIBUTED: ClassVar[bool] = True
    EXHAUSTIVE: ClassVar[bool] = False

    clusters: int | None = None
    ratio: float = 0.5
    outlier_band: Band = EXTREME_TAIL

    def __post_init__(self) -> None:
        if self.clusters is not None and self.clusters < 2:
            raise OptionError(f"clusters must be 2 or more, got {self.clusters}")

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> Choice:
        clusters = clustered(pool, self._count(pool), seed)
        typical = np.zeros(len(clusters.images))
        for rows in clusters.rows:
            typical[rows] = typicality(clusters.points[rows])
        orders = [
            clusters.images[rows[np.argsort(-typical[rows], kind="stable")]]
            for rows in clusters.rows
        ]
        alone = replace(pool, candidates=_one_of_each_group(pool, clusters, typical), groups=None)
        free = Eligible(alone).mask
        rng = generator(seed, "density mix")
        room = np.array([np.count_nonzero(free[order]) for order in orders])
        turns = even_turns(clusters.held, batch_size, rng, room)
        names = [f"cluster {each}" for each in range(len(orders))]
        ends = wishes(turns, orders, free, names, self.ratio, self.outlier_band, rng)
        return take_ends(alone, turns, ends)

    def _count(self, pool: Pool) -> int:
        count = len(pool.class_names) if self.clusters is None else self.clusters
        if count < 2:
            raise OptionError(
                "density_mix makes as many clusters as there are classes, and their number is not "
                "known here; give `clusters`"
            )
        return count


def _one_of_each_group(
    pool: Pool, clusters: Clustered, typical: npt.NDArray[np.float64]
) -> IntArray:
    """The most typical available image of each group, of equals the lowest index."""
    if pool.groups is None:
        return pool.available
    scores = typical[np.searchsorted(clusters.images, pool.available)]
    order = pool.available[np.argsort(-scores, kind="stable")]
    return order[np.unique(pool.groups[order], return_index=True)[1]]
