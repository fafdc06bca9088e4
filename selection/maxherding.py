"""`maxherding`: every image near a labelled one, by a Gaussian kernel."""

from dataclasses import dataclass
from typing import ClassVar

from fmsel.selection.coverage.greedy import greedy_cover
from fmsel.selection.coverage.kernels import Gaussian, check_bandwidth
from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy


@dataclass(frozen=True)
class Maxherding(Strategy):
    """MaxHerding (Bae, Noh and Sutherland, "Generalized Coverage for More Robust Low-Budget
    Active Learning", ECCV 2024, arXiv 2407.12212): ProbCover with a smooth edge.

    Attributes:
        sigma: above 0, of the kernel exp(-(distance / sigma)^2) between features of length 1 (1 in
            the authors' scripts).
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)
    DISTRIBUTED: ClassVar[bool] = True

    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_bandwidth(self.sigma)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        return greedy_cover(pool, Gaussian(self.sigma), batch_size, seed)
