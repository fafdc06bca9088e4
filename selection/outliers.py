"""`outliers`: the least prototypical images of each class, or those of a band near that end."""

from dataclasses import dataclass
from typing import ClassVar

from fmsel.metrics.scores import PREFERRED
from fmsel.selection.pool import IntArray, LabelUse, Oracle, Pool
from fmsel.selection.pool.extremes import EXTREME_TAIL, Band, extremes


@dataclass(frozen=True)
class Outliers(Oracle):
    """An oracle: ranking within each class reads the label of every image."""

    LABEL_USE: ClassVar[LabelUse] = "formula"

    outlier_band: Band = EXTREME_TAIL
    metrics: tuple[str, ...] = PREFERRED

    def _pick_by_class(self, pool: Pool, batch_size: int, seed: int, truth: IntArray) -> IntArray:
        return extremes(
            pool, truth, batch_size, seed, ratio=0.0, band=self.outlier_band, metrics=self.metrics
        ).indices
