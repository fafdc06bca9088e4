"""`herding`: images whose mean embedding follows that of all images."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fmsel.selection.geometry.herd import herd
from fmsel.selection.geometry.points import each_block, population_units
from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Herding(Strategy):
    """Herding (Welling, "Herding Dynamical Weights to Learn", ICML 2009).

    Pick t, of features f of length 1 with mean mu, is the x of least ||t mu - sum_s f_s - f_x||,
    where the t - 1 images s are those held or chosen before. That is w_0 = mu,
    x_t = argmax <w_{t-1}, f_x> and w_t = w_{t-1} + mu - f_{x_t}.
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)
    DISTRIBUTED: ClassVar[bool] = True

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        points = population_units(pool)
        total = np.zeros(points.shape[1])
        for _, block in each_block(points):
            total += block.sum(axis=0, dtype=np.float64)
        centre = total / len(points)
        toward = np.empty(len(points))
        for part, block in each_block(points):  # t multiplies its rounding
            toward[part] = block.astype(np.float64) @ centre
        return herd(pool, points, _product, toward, lambda p: p + 1, batch_size)


def _product(products: FloatArray) -> FloatArray:
    return products
