"""`herd`: choose so that the chosen images have, in the space of a kernel, the mean of all."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fmsel.selection.geometry.backend import Backend
from fmsel.selection.geometry.passes import Values, kernel_sums, kernel_with
from fmsel.selection.geometry.points import Points
from fmsel.selection.geometry.vectors import blocks
from fmsel.selection.pool import Eligible, IntArray, Pool

ROUNDING = 1e-6  # how exactly one kernel value is known


def herd(
    pool: Pool,
    points: Points,
    kernel: Values,
    mean: npt.NDArray[np.float64],
    weight: Callable[[int], float],
    batch_size: int,
) -> IntArray:
    """Choose the x of least k(x, x) / 2 + sum_s k(x, s) - weight(p) mean(x), again and again.

    The sum runs over the p images s that are held or chosen by then. Of equals, up to rounding, the
    lowest index is next. Each pick takes one product of a matrix and a vector, which the backend of
    the pool does. Of points in shards, those of held images alone are kept in memory here.

    Args:
        points: (P, D), of the population of the pool, each of length 1 or 0.
        kernel: elementwise, of inner products; picklable.
        mean: (P,) of k(x, y) over all y of the population.
        weight: of the mean, by p.
        batch_size: at most `pool.most`.
    Returns:
        (batch_size,) in pick order.
    """
    population, held = pool.population, len(pool.held)
    eligible = Eligible(pool)
    sums = _lengths(points, kernel, pool.backend) / 2
    if held:
        chosen = points[np.searchsorted(population, pool.held)]
        sums += kernel_sums(points, chosen, kernel, pool.backend)
    sums[~eligible.mask[population]] = np.inf
    picks = np.empty(batch_size, dtype=np.int64)
    for count in range(batch_size):
        scores = sums - weight(held + count) * mean
        # The roundings of a sum are a random walk.
        row = int(np.argmax(scores <= scores.min() + ROUNDING * np.sqrt(held + count + 1)))
        picks[count] = population[row]
        sums += kernel_with(points, points[np.array([row])][0], kernel, pool.backend)
        sums[np.searchsorted(population, eligible.take(int(picks[count])))] = np.inf
    return picks


def _lengths(points: Points, kernel: Values, backend: Backend) -> npt.NDArray[np.float64]:
    """(P,) of each x, k(x, x)."""
    found = list(backend.map(_nonzero, points, blocks(*points.shape)))
    return kernel(np.concatenate(found)).astype(np.float64)


def _nonzero(points: Points, part: slice) -> npt.NDArray[np.float32]:
    """The squared lengths, which are 1 or 0."""
    return np.asarray(points[part].any(axis=1), dtype=np.float32)
