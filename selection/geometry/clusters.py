"""The images of a pool in clusters, and taking from clusters in turn."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from fmsel.selection.geometry.kmeans import FloatArray, IntArray, k_means
from fmsel.selection.geometry.points import Points, population_directions
from fmsel.selection.pool import Eligible, Pool


class Clustered(NamedTuple):
    """P images, the population of a pool, in K clusters; rows count within the population."""

    images: IntArray  # (P,) global indices, ascending
    points: Points  # (P, D) directions
    labels: IntArray  # (P,) in [0, K)
    centres: FloatArray  # (K, D)
    rows: list[IntArray]  # of each cluster, ascending
    held: IntArray  # (K,) how many images of each are held

    def largest_first(self) -> IntArray:
        """(K,) clusters by size, descending; of equals, the lower number is first."""
        return np.argsort([-len(rows) for rows in self.rows], kind="stable")

    def fewest_held_first(self) -> IntArray:
        """(K,) clusters by held images, ascending; of equals, the larger is first."""
        order = self.largest_first()
        return np.asarray(order[np.argsort(self.held[order], kind="stable")])


def clustered(pool: Pool, k: int, seed: int) -> Clustered:
    """The population of a pool by k-means of its features, scaled to length 1.

    Args:
        k: at least 1; at most so many clusters as there are images.
    """
    images = pool.population
    points = population_directions(pool)
    k = min(k, len(images))
    labels, centres = k_means(points, k, seed, pool.backend)
    ends = np.bincount(labels, minlength=k).cumsum()
    rows = np.split(np.argsort(labels, kind="stable"), ends[:-1])
    held = np.bincount(labels[np.searchsorted(images, pool.held)], minlength=k)
    return Clustered(images, points, labels, centres, rows, held)


def round_robin(eligible: Eligible, orders: Iterable[Iterator[int]], count: int) -> list[int]:
    """Each order in its turn gives its first eligible image, until there are `count` or none left.

    Args:
        eligible: what may be chosen; kept up to date.
        orders: global indices by cluster; none is begun before its turn.
    Returns:
        At most `count` images in pick order.
    """
    taken: list[int] = []
    waiting = list(orders)
    while waiting and len(taken) < count:
        turns, waiting = waiting, []
        for order in turns:
            image = next((image for image in order if eligible.mask[image]), None)
            if image is None:
                continue
            eligible.take(image)
            taken.append(image)
            waiting.append(order)
            if len(taken) == count:
                break
    return taken
