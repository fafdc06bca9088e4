"""`random`: uniform over all images, without labels; classes may be missed."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fmsel.seeds import generator
from fmsel.selection.pool import Eligible, IntArray, LabelUse, Pool, Strategy


@dataclass(frozen=True)
class Random(Strategy):
    """The label-free baseline; a smaller budget of the same seed is a prefix of a larger one."""

    LABEL_USE: ClassVar[LabelUse] = "none"
    RANDOM: ClassVar[bool] = True

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        order = generator(seed, "random").permutation(pool.available)
        return np.array(Eligible(pool).take_first(order, batch_size))
