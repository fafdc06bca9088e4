"""`facility_location`: every image similar to a labelled one, by the cosine of their features."""

from dataclasses import dataclass
from typing import ClassVar

from fmsel.selection.coverage.greedy import greedy_cover
from fmsel.selection.coverage.kernels import ShiftedCosine
from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy


@dataclass(frozen=True)
class FacilityLocation(Strategy):
    """Facility location with similarity 0.5 + 0.5 cosine (as DeepCore has it, Guo et al. 2022)."""

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)
    DISTRIBUTED: ClassVar[bool] = True

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        return greedy_cover(pool, ShiftedCosine(), batch_size, seed)
