"""`least_confidence`: the images whose most probable class is the least probable."""

from dataclasses import dataclass
from typing import ClassVar

from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy
from fmsel.selection.pool.highest import highest_first


@dataclass(frozen=True)
class LeastConfidence(Strategy):
    """Uncertainty sampling (Lewis and Gale, SIGIR 1994) by 1 minus the greatest probability."""

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("probabilities",)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        assert pool.probabilities is not None  # checked by `query`
        return highest_first(pool, batch_size, -pool.probabilities.max(axis=1))
