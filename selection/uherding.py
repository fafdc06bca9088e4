"""`uherding`: every uncertain image near a labelled one."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fmsel.selection.coverage.greedy import greedy_cover
from fmsel.selection.coverage.kernels import ROUNDING, Gaussian, check_bandwidth, directions
from fmsel.selection.geometry.vectors import blocks
from fmsel.selection.margin import margin_uncertainty
from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy


@dataclass(frozen=True)
class Uherding(Strategy):
    """Uncertainty Herding (Bae, Oliveira and Sutherland, ICLR 2025, arXiv 2412.20644).

    MaxHerding in which every image weighs as much as the network is uncertain of it: 1 minus the
    margin between its two most probable classes. The paper also calibrates the probabilities by a
    temperature, for which it holds labels back; here they are taken as they are given.

    Attributes:
        sigma: above 0, of the Gaussian kernel between features of length 1; None = the least
            distance of two different labelled images, or 1 where there are none (section 4: the
            more labels, the nearer to choosing by uncertainty alone).
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features", "probabilities")
    DISTRIBUTED: ClassVar[bool] = True

    sigma: float | None = None

    def __post_init__(self) -> None:
        if self.sigma is not None:
            check_bandwidth(self.sigma)

    def bandwidth(self, pool: Pool) -> float:
        """`sigma`, or the one that the labelled images of the pool give."""
        if self.sigma is not None:
            return self.sigma
        held = directions(pool.vectors(pool.held))
        nearest = -2.0
        for part in blocks(len(held), len(held)):
            cosines = held[part] @ held.T
            nearest = max(nearest, cosines.max(initial=-2, where=cosines <= 1 - ROUNDING))
        return 1.0 if nearest < -1.5 else float(np.sqrt(2 - 2 * nearest))

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        assert pool.probabilities is not None  # checked by `query`
        kernel = Gaussian(self.bandwidth(pool))
        return greedy_cover(pool, kernel, batch_size, seed, margin_uncertainty(pool.probabilities))
