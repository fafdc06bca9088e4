"""`margin`: the images whose two most probable classes are the least apart."""

from dataclasses import dataclass
from typing import ClassVar

from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy
from fmsel.selection.pool.highest import highest_first
from fmsel.selection.uherding import margin_uncertainty


@dataclass(frozen=True)
class Margin(Strategy):
    """Uncertainty sampling by the margin between the two greatest probabilities (Scheffer, Decomain
    and Wrobel, "Active Hidden Markov Models for Information Extraction", IDA 2001).
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("probabilities",)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        assert pool.probabilities is not None  # checked by `query`
        return highest_first(pool, batch_size, margin_uncertainty(pool.probabilities))
