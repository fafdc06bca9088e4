"""`usl`: from each cluster an image in a dense place, far from those of the other clusters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from fmsel.embeddings.vectors.neighbours import EXACT_UP_TO, nearest_neighbours
from fmsel.errors import OptionError
from fmsel.selection.geometry.clusters import Clustered, clustered, round_robin
from fmsel.selection.geometry.vectors import blocks, squared_distances
from fmsel.selection.pool import Eligible, Evidence, IntArray, LabelUse, Pool, Strategy

FloatArray = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

SAME = 1e-6  # squared distances below are rounding errors; they and their means count as this
ROUNDING = 1e-5  # of repulsion, as a share of it
LARGEST, STEEPEST = 1e6, 10.0  # strength and exponent whose powers float32 can hold


@dataclass(frozen=True)
class Usl(Strategy):
    """USL (Wang, Lian and Yu, "Unsupervised Selective Labeling for More Effective Semi-Supervised
    Learning", ECCV 2022), the variant without training, on features of length 1.

    It follows the authors' code, from whose settings for CIFAR-10 the defaults are, where the paper
    differs: distances in the density are squared, and an image is a neighbour of itself. As there,
    nothing is rescaled, so what is added up over the chosen images outweighs density at budgets of
    hundreds. There are as many clusters as images chosen; the largest come first. Images held count
    as chosen already, and repel all others from the first round. Of images whose scores differ by
    no more than rounding may have done, the lowest index is chosen.

    Attributes:
        neighbours: k of the density; None = 400, the authors' for CIFAR-10, and above 100,000
            images 20, theirs for ImageNet.
        strength: lambda, at least 0, of the repulsion.
        alpha: above 0, its exponent: 1 / squared distance^alpha.
        horizon: above 0; images at this squared distance or beyond do not repel.
        momentum: m in 0..1, of the moving average of the repulsion.
        rounds: T, at least 1.
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NESTED: ClassVar[bool] = False
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)

    neighbours: int | None = None
    strength: float = 0.5
    alpha: float = 0.5
    horizon: float = 4.0
    momentum: float = 0.9
    rounds: int = 10

    def __post_init__(self) -> None:
        if self.neighbours is not None and self.neighbours < 1:
            raise OptionError(f"neighbours must be 1 or more, got {self.neighbours}")
        if not 0 <= self.strength <= LARGEST:
            raise OptionError(f"strength must be in 0..{LARGEST:g}, got {self.strength:g}")
        if not (0 < self.alpha <= STEEPEST and self.horizon > 0):
            raise OptionError(
                f"alpha must be above 0 and at most {STEEPEST:g}, and horizon above 0, got "
                f"{self.alpha:g} and {self.horizon:g}"
            )
        if not 0 <= self.momentum <= 1:
            raise OptionError(f"momentum must be in 0..1, got {self.momentum:g}")
        if self.rounds < 1:
            raise OptionError(f"rounds must be 1 or more, got {self.rounds}")

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        clusters = clustered(pool, batch_size, seed)
        points = clusters.points[:]
        clusters = clusters._replace(points=points)  # of shards too: in memory for every round
        utility = density(points, self.neighbours)
        free = np.flatnonzero(np.isin(clusters.images, pool.available, assume_unique=True))
        held = np.searchsorted(clusters.images, pool.held)
        scores = self._scores(clusters, utility, free, held)
        orders = (_by_score(clusters, each, scores) for each in clusters.largest_first())
        return np.array(round_robin(Eligible(pool), orders, batch_size))

    def _scores(
        self, clusters: Clustered, utility: Scores, free: IntArray, held: IntArray
    ) -> "Rated":
        """The scores when the last round chooses."""
        repulsion = _Repulsion(clusters, self.alpha, self.horizon)
        by_held = repulsion.of(held)
        average = by_held.copy()
        for _ in range(self.rounds - 1):
            chosen = _best(clusters, free, rated(utility, self.strength * average))
            average *= self.momentum
            average += (1 - self.momentum) * (by_held + repulsion.of_other_clusters(chosen))
        return rated(utility, self.strength * average)


class Rated(NamedTuple):
    """(P,) scores, and how far rounding may have moved each."""

    scores: Scores
    doubt: Scores


def rated(utility: Scores, repulsion: Scores) -> Rated:
    """Utility, 1 / a mean squared distance that is known up to `SAME`, less repulsion."""
    return Rated(utility - repulsion, SAME * utility**2 + ROUNDING * abs(repulsion))


def density(points: FloatArray, neighbours: int | None) -> Scores:
    """(P,) 1 / the mean squared distance to the k nearest, the point itself among them."""
    import faiss

    if neighbours is None:
        neighbours = 400 if len(points) <= EXACT_UP_TO else 20
    k = min(neighbours, len(points))
    total = np.zeros(len(points))
    if len(points) <= EXACT_UP_TO:
        index = faiss.IndexFlatL2(points.shape[1])
        index.add(points)
        for part in blocks(len(points), 3 * k):
            squared = index.search(points[part], k)[0]
            total[part] = squared.sum(axis=1, where=squared > SAME, dtype=np.float64)
    elif k > 1:
        total = (nearest_neighbours(points, k - 1).distances.astype(np.float64) ** 2).sum(axis=1)
    return np.asarray(1 / np.maximum(total / k, SAME))


class _Repulsion:
    """How near each image is to chosen ones: the sum of 1 / squared distance^alpha."""

    def __init__(self, clusters: Clustered, alpha: float, horizon: float) -> None:
        self._points, self._labels = clusters.points, clusters.labels
        self._alpha, self._horizon = alpha, horizon
        self._chosen = np.full(len(clusters.rows), -1, dtype=np.int64)
        self._total = np.zeros(len(self._points))

    def of(self, rows: IntArray, clusters: IntArray | None = None) -> Scores:
        """(P,) the repulsion by these rows; where their clusters are given, of other clusters."""
        total = np.zeros(len(self._points))
        column = np.full(len(self._chosen), -1, dtype=np.int64)
        if clusters is not None:
            column[clusters] = np.arange(len(clusters))
        centres = self._points[rows]
        for part in blocks(len(total), 3 * len(rows)):
            force = squared_distances(self._points[part], centres)
            np.maximum(force, SAME, out=force)
            force[force >= self._horizon] = np.inf
            np.power(force, -self._alpha, out=force)
            own = column[self._labels[part]]
            force[own >= 0, own[own >= 0]] = 0
            total[part] = force.sum(axis=1, dtype=np.float64)
        return total

    def of_other_clusters(self, chosen: IntArray) -> Scores:
        """(P,) the repulsion by the rows chosen in other clusters; (K,) rows, -1 where none is.

        Only what has changed since the last call is computed, unless that is more than half.
        """
        changed = np.flatnonzero(chosen != self._chosen)
        if 2 * len(changed) > len(chosen):
            self._total, changed = np.zeros(len(self._points)), np.flatnonzero(chosen >= 0)
        else:
            self._total -= self.of(self._chosen[changed], changed)
        self._total += self.of(chosen[changed], changed)
        self._chosen = chosen
        return self._total


def _best(clusters: Clustered, free: IntArray, rated: Rated) -> IntArray:
    """(K,) the free row of each cluster with the highest score, -1 where no row is free.

    Of those that rounding may have put in their order, the lowest row.
    """
    labels, scores = clusters.labels[free], rated.scores[free]
    most = np.full(len(clusters.rows), -np.inf)
    np.maximum.at(most, labels, scores)
    ties = free[scores >= most[labels] - rated.doubt[free]]
    chosen = np.full(len(clusters.rows), -1, dtype=np.int64)
    found, first = np.unique(clusters.labels[ties], return_index=True)
    chosen[found] = ties[first]
    return chosen


def _by_score(clusters: Clustered, cluster: int, rated: Rated) -> Iterator[int]:
    """The images of one cluster, the highest score first.

    Those that rounding may have put in their order come by index.
    """
    rows = clusters.rows[cluster]
    falling = rows[np.argsort(-rated.scores[rows], kind="stable")]
    rising, start = -rated.scores[falling], 0
    while start < len(falling):
        most = rising[start] + rated.doubt[falling[start]]
        stop = int(np.searchsorted(rising, most, side="right"))
        yield from clusters.images[np.sort(falling[start:stop])].tolist()
        start = stop
