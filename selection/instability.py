"""`instability`: the images whose predicted class has changed most often of late."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fmsel.errors import DataError
from fmsel.selection.margin import margin_uncertainty
from fmsel.selection.pool import Evidence, IntArray, LabelUse, Pool, Strategy
from fmsel.selection.pool.highest import highest_first

FEWEST = 2  # evaluations of a run that can be compared


@dataclass(frozen=True)
class Instability(Strategy):
    """How often a run gave an image another class than at the evaluation before.

    It counts, without labels, what forgetting events count with them (Toneva et al., "An Empirical
    Study of Example Forgetting during Deep Neural Network Learning", ICLR 2019). Of images that
    changed equally often, the one of the smallest margin is first where there are probabilities.

    Raises:
        DataError: the run kept fewer than two evaluations.
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("history",)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        assert pool.history is not None  # checked by `query`
        if len(pool.history) < FEWEST:
            raise DataError(
                f"instability compares a run's evaluations with those before, so it needs {FEWEST} "
                f"or more, and this run kept {len(pool.history)}; train for longer"
            )
        changes = np.count_nonzero(pool.history[1:] != pool.history[:-1], axis=0)
        if pool.probabilities is None:
            return highest_first(pool, batch_size, changes)
        return highest_first(pool, batch_size, changes, margin_uncertainty(pool.probabilities))
