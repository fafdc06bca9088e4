"""`entropy`: the images whose predicted probabilities have the highest entropy."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fmsel.selection.geometry.vectors import blocks
from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy
from fmsel.selection.pool.highest import highest_first


@dataclass(frozen=True)
class Entropy(Strategy):
    """Uncertainty sampling by the entropy of the probabilities (Settles, "Active Learning
    Literature Survey", 2009, section 3.1).
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("probabilities",)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        assert pool.probabilities is not None  # checked by `query`
        return highest_first(pool, batch_size, entropy(pool.probabilities))


def entropy(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(N,) in 0..ln C, in nats, of (N, C) probabilities."""
    found = np.empty(len(probabilities))
    for part in blocks(len(probabilities), 4 * probabilities.shape[1]):
        chances = probabilities[part].astype(np.float64)
        logs = np.log(chances, out=np.zeros_like(chances), where=chances > 0)
        found[part] = -(chances * logs).sum(axis=1)
    return found
