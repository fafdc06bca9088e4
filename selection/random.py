"""`random`: uniform over all images, without labels; classes may be missed."""

from dataclasses import dataclass
from typing import ClassVar

from fmsel.errors import BudgetError
from fmsel.seeds import generator
from fmsel.selection.pool import IntArray, LabelUse, Pool, Strategy


@dataclass(frozen=True)
class Random(Strategy):
    """The label-free baseline; a smaller budget of the same seed is a prefix of a larger one."""

    LABEL_USE: ClassVar[LabelUse] = "none"
    RANDOM: ClassVar[bool] = True

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        available = pool.available
        if batch_size > len(available):
            raise BudgetError(
                f"cannot choose {batch_size} of {len(available)} images; "
                f"ask for at most {len(available)}"
            )
        return generator(seed, "random").permutation(available)[:batch_size]
