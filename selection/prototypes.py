"""`prototypes`: the most prototypical images of each class (FixMatch, section 4.4)."""

from dataclasses import dataclass
from typing import ClassVar

from fmsel.metrics.scores import PREFERRED
from fmsel.selection.pool import IntArray, LabelUse, Oracle, Pool
from fmsel.selection.pool.extremes import EXTREME_TAIL, extremes


@dataclass(frozen=True)
class Prototypes(Oracle):
    """An oracle: ranking within each class reads the label of every image."""

    LABEL_USE: ClassVar[LabelUse] = "formula"

    metrics: tuple[str, ...] = PREFERRED

    def _pick_by_class(self, pool: Pool, batch_size: int, seed: int, truth: IntArray) -> IntArray:
        return extremes(
            pool, truth, batch_size, seed, ratio=1.0, band=EXTREME_TAIL, metrics=self.metrics
        ).indices
