"""`mixed`: the most prototypical images of each class together with outliers of it."""

from dataclasses import dataclass
from typing import ClassVar

from fmsel.metrics.scores import PREFERRED
from fmsel.selection.pool import Choice, IntArray, LabelUse, Oracle, Pool
from fmsel.selection.pool.extremes import EXTREME_TAIL, Band, extremes


@dataclass(frozen=True)
class Mixed(Oracle):
    """An oracle: ranking within each class reads the label of every image.

    A prefix keeps the share, but need not hold the best prototypes and worst outliers alone.
    """

    LABEL_USE: ClassVar[LabelUse] = "formula"
    NESTED: ClassVar[bool] = False

    ratio: float = 0.5  # share of prototypes
    outlier_band: Band = EXTREME_TAIL
    metrics: tuple[str, ...] = PREFERRED

    def _pick_by_class(self, pool: Pool, batch_size: int, seed: int, truth: IntArray) -> Choice:
        return extremes(
            pool,
            truth,
            batch_size,
            seed,
            ratio=self.ratio,
            band=self.outlier_band,
            metrics=self.metrics,
        )
