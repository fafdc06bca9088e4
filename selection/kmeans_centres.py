"""`kmeans_centres`: the image nearest the centre of each of as many clusters as images chosen."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fmsel.selection.geometry.clusters import Clustered, clustered, round_robin
from fmsel.selection.pool import Eligible, Evidence, IntArray, LabelUse, Pool, Strategy


@dataclass(frozen=True)
class KmeansCentres(Strategy):
    """k-means on features of length 1, as the baseline of USL and RDSS.

    With L images held there are L more clusters, and those of held images come last. The larger
    clusters come first. Where a cluster has no image to choose, another gives its second nearest.
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NESTED: ClassVar[bool] = False
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)
    DISTRIBUTED: ClassVar[bool] = True

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        clusters = clustered(pool, len(pool.held) + batch_size, seed)
        orders = (_by_distance(clusters, each) for each in clusters.fewest_held_first())
        return np.array(round_robin(Eligible(pool), orders, batch_size))


def _by_distance(clusters: Clustered, cluster: int) -> Iterator[int]:
    """The images of one cluster, nearest its centre first; of equals, the lowest index."""
    rows = clusters.rows[cluster]
    apart = np.linalg.norm(clusters.points[rows] - clusters.centres[cluster], axis=1)
    yield from clusters.images[rows[np.argsort(apart, kind="stable")]].tolist()
