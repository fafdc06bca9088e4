"""`greedy_cover`: choose so that every image has a labelled one near, the most gainful first."""

import heapq

import numpy as np
import numpy.typing as npt

from fmsel.seeds import generator
from fmsel.selection.coverage.gains import DenseGains, Gains, SparseGains
from fmsel.selection.coverage.kernels import ROUNDING, FloatArray, Kernel, cosines
from fmsel.selection.geometry.farthest import Farthest
from fmsel.selection.geometry.points import Points, population_directions, subset
from fmsel.selection.geometry.vectors import blocks
from fmsel.selection.pool import Eligible, IntArray, Pool

PAIRS = 12_000**2  # kernel values held at once: 0.6 GB
CANDIDATES = 72_000  # of the first picks; of more, a sample
TARGETS = 60_000  # to cover by the later picks; of more, a sample
EDGES = 100_000_000  # pairs held for the later picks: 0.8 GB


def greedy_cover(
    pool: Pool,
    kernel: Kernel,
    batch_size: int,
    seed: int,
    weights: npt.NDArray[np.floating] | None = None,
) -> IntArray:
    """Maximise sum_i w_i max_s k(i, s) over the population i and the held or chosen images s.

    Up to 12,000 images this is the greedy algorithm exactly, which reaches 1 - 1/e of the best
    possible gain (Nemhauser, Wolsey and Fisher 1978), evaluated lazily (Minoux 1978). Of more
    images, the first picks maximise the objective on a random sample of the population, as
    MaxHerding's do, of 144 million kernel values. Once only 100 million pairs can still improve
    (about P^2 / picks of them can), these are held, and the rest is exact greedy again: for all of
    up to 60,000 images, and for a sample of so many beyond.

    The choice does not depend on how many more are asked for. Where nothing can be improved any
    more, the image farthest from those held or chosen is next. Of images that gain equally much up
    to the rounding of cosines, taken as `ROUNDING`, the lowest index is.

    Args:
        pool: with features, which are scaled to length 1.
        batch_size: at most `pool.most`.
        seed: of the samples.
        weights: (N,) at least 0, of the images to cover; None or all 0 = all 1.
    Returns:
        (batch_size,) in pick order.
    """
    choice = _Choice(pool, batch_size, weights)
    everything = np.arange(len(choice.points))
    if len(choice.candidates) * len(everything) <= PAIRS:
        gains = DenseGains(*choice.problem(kernel, choice.candidates, everything))
        choice.grow(gains, choice.candidates)
    else:
        _grow_large(choice, kernel, generator(seed, "coverage"))
    choice.grow_far()
    return choice.population[choice.picks]


def _grow_large(choice: "_Choice", kernel: Kernel, rng: np.random.Generator) -> None:
    """The first picks on a sample, until the pairs that can still improve are few enough."""
    everything = np.arange(len(choice.points))
    targets = _sample(everything, TARGETS, rng)
    some = _sample(choice.candidates, CANDIDATES, rng)
    few = _sample(everything, max(1, PAIRS // len(some)), rng)
    gains = DenseGains(*choice.problem(kernel, some, few))
    share = EDGES / (len(choice.candidates) * len(targets))
    looks_at = 0  # next when there are twice as many picks, whatever the budget
    while len(choice.picks) == looks_at < choice.batch_size and gains.improving() > share:
        looks_at = max(1, 2 * looks_at)
        choice.grow(gains, some, looks_at)
    del gains
    if len(choice.picks) < choice.batch_size:
        problem = choice.problem(kernel, choice.candidates, targets)
        rest = SparseGains(*problem, choice.backend)
        choice.grow(rest, choice.candidates)


def _sample(of: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    return of if len(of) <= most else np.sort(rng.choice(of, most, replace=False))


class _Choice:
    """A choice in the making; all indices count within the population.

    Attributes:
        points: (P, D) directions of the population.
        candidates: (M,) those that may be chosen at the start.
        picks: those chosen so far, in order.
        backend: of the pool.
    """

    def __init__(
        self, pool: Pool, batch_size: int, weights: npt.NDArray[np.floating] | None
    ) -> None:
        self.population = pool.population
        self.points = population_directions(pool)
        self.candidates = np.searchsorted(self.population, pool.available)
        self.batch_size = batch_size
        self.backend = pool.backend
        self.picks: list[int] = []
        self._held = np.searchsorted(self.population, pool.held)
        self._eligible = Eligible(pool)
        self._weights = np.ones(len(self.points), dtype=np.float32)
        if weights is not None and weights[self.population].any():
            self._weights = weights[self.population].astype(np.float32)

    def problem(
        self, kernel: Kernel, candidates: IntArray, targets: IntArray
    ) -> tuple[Kernel, Points, FloatArray, FloatArray, FloatArray]:
        """The arguments of `DenseGains` and `SparseGains`, given what is covered by now."""
        cover = np.zeros(len(targets), dtype=np.float32)
        if len(self._centres()):
            cover = kernel.values(self._closest(targets, kernel.edge)) + np.float32(ROUNDING)
        points, weights = subset(self.points, candidates), self._weights[targets]
        return kernel, points, self.points[targets], weights, cover

    def grow(self, gains: Gains, candidates: IntArray, size: int | None = None) -> None:
        """Take candidates by greatest gain, until there are `size` picks or nothing is gained."""
        size = min(size or self.batch_size, self.batch_size)
        images = self.population[candidates]
        bounds = np.full(len(images), -np.inf)  # of the gains, which never rise
        for each in np.flatnonzero(self._eligible.mask[images]).tolist():
            bounds[each] = gains.gain(each).value
        heap = [(-bound, row) for row, bound in enumerate(bounds.tolist()) if bound > 0]
        heapq.heapify(heap)
        while len(self.picks) < size and (row := _most_gainful(gains, bounds, heap)) is not None:
            closed = self._eligible.take(int(images[row]))
            bounds[_places(closed, images)] = -np.inf
            gains.add(row)
            self.picks.append(int(candidates[row]))

    def grow_far(self) -> None:
        """Take the farthest from those held or chosen, until there are enough."""
        missing = self.batch_size - len(self.picks)
        if missing:
            left = self.candidates[self._eligible.mask[self.population[self.candidates]]]
            images = self.population[left]
            far = Farthest(self.points[left], images, self._eligible, self._closest(left))
            far.grow(missing)
            self.picks += left[far.picks].tolist()

    def _centres(self) -> IntArray:
        return np.concatenate([self._held, np.array(self.picks, dtype=np.int64)])

    def _closest(self, targets: IntArray, edge: float | None = None) -> FloatArray:
        """(T,) the cosine of each with the nearest held or chosen one; -1 where there is none.

        Args:
            edge: of the kernel, as of `cosines`.
        """
        centres = self.points[self._centres()]
        closest = np.full(len(targets), -1, dtype=np.float32)
        for part in blocks(len(targets), max(self.points.shape[1], len(centres))):
            near = cosines(self.points[targets[part]], centres, edge)
            closest[part] = near.max(axis=1, initial=-1)
        return closest


def _most_gainful(
    gains: Gains, bounds: npt.NDArray[np.float64], heap: list[tuple[float, int]]
) -> int | None:
    """The first row whose gain is the greatest, up to rounding; None where none gains more.

    Only rows that may be the best are evaluated anew (Minoux 1978).

    Args:
        bounds: (R,) gains at some earlier time, -inf of rows that are closed; brought up to date.
        heap: (-bound, row) of all rows that may still gain, some of before; brought up to date.
    """
    while heap:
        row = heap[0][1]
        if bounds[row] <= 0:
            heapq.heappop(heap)
            continue
        now = gains.gain(row)
        bounds[row] = now.value
        entry = (-now.value, row)
        heapq.heapreplace(heap, entry)
        if heap[0] == entry:
            break
    else:
        return None
    if now.value <= now.doubt:
        return None
    least = now.value - now.doubt
    for first in np.flatnonzero(bounds[:row] >= least).tolist():
        bounds[first] = gains.gain(first).value
        if bounds[first] >= least:
            return int(first)
    return row


def _places(of: IntArray, among: IntArray) -> IntArray:
    """Where those of some images that are there lie among others, ascending."""
    places = np.minimum(np.searchsorted(among, of), len(among) - 1)
    return np.asarray(places[among[places] == of])
