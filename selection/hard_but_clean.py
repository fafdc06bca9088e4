"""`hard_but_clean`: the hardest images of each class once its extreme tail is cut off.

The lowest few percent of a ranking by training dynamics are mostly mislabelled images (Pleiss et
al., 2020, arXiv 2001.10528; Northcutt et al., 2021), which teach the wrong class.
"""

from dataclasses import dataclass
from typing import ClassVar

from fmsel.errors import OptionError
from fmsel.metrics.scores import PREFERRED
from fmsel.selection.pool import IntArray, LabelUse, Oracle, Pool
from fmsel.selection.pool.extremes import Band, extremes


@dataclass(frozen=True)
class HardButClean(Oracle):
    """An oracle: ranking within each class reads the label of every image.

    It is `outliers` of the band from percentile `tail` upwards.
    """

    LABEL_USE: ClassVar[LabelUse] = "formula"

    tail: float = 5.0  # percent of each class, from its outlier end, that are never chosen
    metrics: tuple[str, ...] = PREFERRED

    def __post_init__(self) -> None:
        if not 0 <= self.tail < 100:
            raise OptionError(
                f"the tail to cut off must be 0 percent or more and below 100, got {self.tail:g}"
            )

    def _pick_by_class(self, pool: Pool, batch_size: int, seed: int, truth: IntArray) -> IntArray:
        band = Band(self.tail, 100)
        return extremes(
            pool, truth, batch_size, seed, ratio=0.0, band=band, metrics=self.metrics
        ).indices
