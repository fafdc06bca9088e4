"""`rdss`: images that are like all images, by a Gaussian kernel, and unlike each other."""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fmsel.errors import OptionError
from fmsel.seeds import generator
from fmsel.selection.coverage.kernels import ROUNDING, Gaussian, Kernel, check_bandwidth
from fmsel.selection.geometry.backend import Backend, Local
from fmsel.selection.geometry.herd import herd
from fmsel.selection.geometry.passes import kernel_sums, own_kernel_sums
from fmsel.selection.geometry.points import Points, population_directions
from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy

EXACT_UP_TO = 60_000  # images; of more, kernels are averaged over a sample
ANCHORS = 20_000  # in that sample
SMALLER = 8  # times smaller blocks than elsewhere: the system reuses their memory, a third faster
BANDWIDTH = 2_000  # images whose median distance is taken; of more, a sample


@dataclass(frozen=True)
class Rdss(Strategy):
    """RDSS (Shao et al., "Enhancing Semi-Supervised Learning via Representative and Diverse Sample
    Selection", NeurIPS 2024, arXiv 2409.11653): the greedy algorithm GKHR for alpha-MMD.

    With mu(x) the mean of k(x, y) = exp(-||x - y||^2 / (2 sigma^2)) over all images y, and S(x) the
    mean over those held or chosen already, the x of least S(x) - alpha mu(x) is next; the first is
    that of greatest mu. Of more than 60,000 images mu is averaged over 20,000 drawn by the seed, so
    that the standard error of mu(x) is that of k(x, .) over 141: at most 0.0036, as k is in 0..1.

    Attributes:
        alpha: in 0..1; 1 = kernel herding, less = more diverse. None = 1 - 1 / sqrt(m) with m the
            labels in all, held ones among them (the paper's): then a prefix is not the choice of
            the smaller budget, as it is with a given alpha.
        sigma: above 0, between features of length 1; None = the median distance of different
            images (the paper's; its published code has 1 between features of any length), of a
            sample of 2,000.
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NESTED: ClassVar[bool] = False
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)
    DISTRIBUTED: ClassVar[bool] = True

    alpha: float | None = None
    sigma: float | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise OptionError(f"alpha must be in 0..1, got {self.alpha:g}")
        if self.sigma is not None:
            check_bandwidth(self.sigma)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        points = population_directions(pool)
        sigma = median_distance(points, seed) if self.sigma is None else self.sigma
        kernel = Gaussian(sqrt(2) * sigma)
        labels = len(pool.held) + batch_size
        alpha = 1 - 1 / sqrt(labels) if self.alpha is None else self.alpha

        def weight(chosen: int) -> float:  # S(x) is a sum over so many
            return alpha * chosen if chosen else 1.0

        mean = mean_kernel(points, kernel, seed, pool.backend)
        return herd(pool, points, kernel.values, mean, weight, batch_size)


def median_distance(points: Points, seed: int) -> float:
    """Of pairs of different points of length 1, in 0..2; 1 where all are equal."""
    if len(points) > BANDWIDTH:
        sample = generator(seed, "bandwidth").choice(len(points), BANDWIDTH, replace=False)
        some = points[np.sort(sample)]
    else:
        some = points[:]
    cosines = (some @ some.T)[np.triu_indices(len(some), 1)]
    different = cosines[cosines < 1 - ROUNDING].astype(np.float64)
    return float(np.median(np.sqrt(2 - 2 * different))) if len(different) else 1.0


def mean_kernel(
    points: Points, kernel: Kernel, seed: int, backend: Backend | None = None
) -> npt.NDArray[np.float64]:
    """(P,) the mean kernel value of each of (P, D) directions with all or a sample of them."""
    n, backend = len(points), backend or Local()
    if n > EXACT_UP_TO:
        anchors = points[np.sort(generator(seed, "anchors").choice(n, ANCHORS, replace=False))]
        return kernel_sums(points, anchors, kernel.values, backend, SMALLER) / ANCHORS
    return own_kernel_sums(points[:], kernel.values, backend, SMALLER) / n
