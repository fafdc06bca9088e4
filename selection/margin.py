"""`margin`: the images whose two most probable classes are the least apart."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy
from fmsel.selection.pool.highest import highest_first


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


def margin_uncertainty(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """(N,) in 0..1: 1 minus the difference of the two greatest of (N, C) probabilities, C >= 2."""
    best = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(1 - (best[:, 1] - best[:, 0]))
