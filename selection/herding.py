"""`herding`: images whose mean embedding follows that of all images."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fmsel.selection.geometry.herd import herd
from fmsel.selection.geometry.vectors import blocks, unit
from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy


@dataclass(frozen=True)
class Herding(Strategy):
    """Herding (Welling, "Herding Dynamical Weights to Learn", ICML 2009).

    Pick t, of features f of length 1 with mean mu, is the x of least ||t mu - sum_s f_s - f_x||,
    where the t - 1 images s are those held or chosen before. That is w_0 = mu,
    x_t = argmax <w_{t-1}, f_x> and w_t = w_{t-1} + mu - f_{x_t}.
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        points = unit(pool.vectors(pool.population))
        centre = points.mean(axis=0, dtype=np.float64)
        toward = np.empty(len(points))
        for part in blocks(*points.shape):  # t multiplies its rounding
            toward[part] = points[part].astype(np.float64) @ centre
        return herd(pool, points, lambda products: products, toward, lambda p: p + 1, batch_size)
