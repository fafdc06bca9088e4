"""`herd`: choose so that the chosen images have, in the space of a kernel, the mean of all."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fmsel.selection.geometry.vectors import blocks
from fmsel.selection.pool import Eligible, IntArray, Pool

FloatArray = npt.NDArray[np.float32]
Values = Callable[[FloatArray], FloatArray]  # a kernel, given inner products
ROUNDING = 1e-6  # how exactly one kernel value is known


def herd(
    pool: Pool,
    points: FloatArray,
    kernel: Values,
    mean: npt.NDArray[np.float64],
    weight: Callable[[int], float],
    batch_size: int,
) -> IntArray:
    """Choose the x of least k(x, x) / 2 + sum_s k(x, s) - weight(p) mean(x), again and again.

    The sum runs over the p images s that are held or chosen by then. Of equals, up to rounding, the
    lowest index is next. Each pick takes one product of a matrix and a vector.

    Args:
        points: (P, D), of the population of the pool, each of length 1 or 0.
        kernel: elementwise, of inner products.
        mean: (P,) of k(x, y) over all y of the population.
        weight: of the mean, by p.
        batch_size: at most `pool.most`.
    Returns:
        (batch_size,) in pick order.
    """
    population, held = pool.population, len(pool.held)
    eligible = Eligible(pool)
    sums = _sums(points, points[np.searchsorted(population, pool.held)], kernel)
    sums[~eligible.mask[population]] = np.inf
    picks = np.empty(batch_size, dtype=np.int64)
    for count in range(batch_size):
        scores = sums - weight(held + count) * mean
        # The roundings of a sum are a random walk.
        row = int(np.argmax(scores <= scores.min() + ROUNDING * np.sqrt(held + count + 1)))
        picks[count] = population[row]
        sums += kernel(points @ points[row])
        sums[np.searchsorted(population, eligible.take(int(picks[count])))] = np.inf
    return picks


def _sums(points: FloatArray, chosen: FloatArray, kernel: Values) -> npt.NDArray[np.float64]:
    """(P,) of each x, k(x, x) / 2 and the sum of its kernel values with the chosen."""
    lengths = np.asarray(points.any(axis=1), dtype=np.float32)
    sums = kernel(lengths).astype(np.float64) / 2
    for part in blocks(len(points), len(chosen)):
        sums[part] += kernel(points[part] @ chosen.T).sum(axis=1, dtype=np.float64)
    return sums
