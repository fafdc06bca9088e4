"""`typiclust`: the most typical image of each of as many clusters as images chosen."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fmsel.errors import OptionError
from fmsel.selection.geometry.clusters import Clustered, clustered, round_robin
from fmsel.selection.geometry.typicality import typicality
from fmsel.selection.pool import Eligible, Evidence, IntArray, LabelUse, Pool, Strategy


@dataclass(frozen=True)
class Typiclust(Strategy):
    """TypiClust (Hacohen, Dekel and Weinshall, "Active Learning on a Budget: Opposite Strategies
    Suit High and Low Budgets", ICML 2022), on features of length 1.

    Clusters take turns, those with the fewest held images first, of these the largest. Each gives
    its most typical image, and in later rounds the next. As in the paper distances are Euclidean
    (the authors' code squares them), and all of a cluster are neighbours, held ones too (the code
    leaves out what is labelled and ranks anew after every pick).

    Attributes:
        max_clusters: at most so many (500 in the authors' code).
        min_size: clusters of fewer images give one only where the others have none left (6 in the
            authors' code, which drops them).
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NESTED: ClassVar[bool] = False
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)
    DISTRIBUTED: ClassVar[bool] = True

    max_clusters: int = 500
    min_size: int = 6

    def __post_init__(self) -> None:
        if self.max_clusters < 1:
            raise OptionError(f"max_clusters must be 1 or more, got {self.max_clusters}")
        if self.min_size < 1:
            raise OptionError(f"min_size must be 1 or more, got {self.min_size}")

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        k = min(len(pool.held) + batch_size, self.max_clusters)
        clusters = clustered(pool, k, seed)
        eligible = Eligible(pool)
        picks: list[int] = []
        order = clusters.fewest_held_first()
        large = np.array([len(clusters.rows[each]) >= self.min_size for each in order])
        for part in (order[large], order[~large]):
            turns = (_by_typicality(clusters, each) for each in part)
            picks += round_robin(eligible, turns, batch_size - len(picks))
        return np.array(picks)


def _by_typicality(clusters: Clustered, cluster: int) -> Iterator[int]:
    """The images of one cluster, the most typical first; of equals, the lowest index."""
    rows = clusters.rows[cluster]
    order = np.argsort(-typicality(clusters.points[rows]), kind="stable")
    yield from clusters.images[rows[order]].tolist()
