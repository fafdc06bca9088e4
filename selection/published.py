"""`published`: an index set that others published, by name, such as `fixmatch-7`.

FixMatch's eight (Sohn et al., 2020, section 4.4) hold one CIFAR-10 image a class: `fixmatch-0` the
outliers, `fixmatch-7` the prototypes.
"""

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fmsel.errors import BudgetError, DataError, OptionError
from fmsel.selection.pool import Eligible, IntArray, LabelUse, Pool, Strategy

if TYPE_CHECKING:  # the images' package takes long to import
    from fmsel.datasets import ImageDataset
    from fmsel.datasets.published import PublishedSets


@dataclass(frozen=True)
class Published(Strategy):
    """The first images of a published set that may be chosen, in published order.

    Its authors read the label of every image, so it is an oracle, though nothing is read here.
    """

    LABEL_USE: ClassVar[LabelUse] = "formula"
    EXHAUSTIVE: ClassVar[bool] = False

    set: str = "fixmatch-7"

    @property
    def size(self) -> int:
        """How many images the set holds; OptionError where there is no such set."""
        return int(self._find()[0].indices.shape[1])

    def check_data(self, data: "ImageDataset") -> None:
        """DataError where `data` are not the images that the set's indices point into."""
        sets = self._find()[0]
        if not sets.matches(data):
            raise DataError(
                f"the set {self.set} points into the train part of {sets.dataset}, {sets.n} images "
                f"in their original order with their original labels; the {data.part} part of "
                f"{data.name} with {len(data)} images is not that"
            )

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        sets, row = self._find()
        if pool.n != sets.n:
            raise DataError(
                f"the set {self.set} points into the {sets.n} images of {sets.dataset}, "
                f"but the pool has {pool.n}"
            )
        picks = Eligible(pool).take_first(sets.indices[row], batch_size)
        if len(picks) < batch_size:
            raise BudgetError(
                f"cannot choose {batch_size} images of the set {self.set}: of its "
                f"{sets.indices.shape[1]} images {len(picks)} may be chosen; ask for at most those"
            )
        return np.array(picks)

    def _find(self) -> tuple["PublishedSets", int]:
        """The family and the row in it of the set; OptionError names the sets there are."""
        known = published_sets()
        if self.set not in known:
            raise OptionError(
                f"there is no published set {self.set!r}; there are {', '.join(known)}"
            )
        return known[self.set]


def published_sets() -> dict[str, tuple["PublishedSets", int]]:
    """Name -> family of sets and row in it, of every set in `fmsel.datasets.published`.

    A name is the first word of the family's module and the set's own name.
    """
    import fmsel.datasets.published as home

    known = {}
    for module in pkgutil.iter_modules(home.__path__):
        sets = import_module(f"{home.__name__}.{module.name}").SETS
        for row, name in enumerate(sets.names):
            known[f"{module.name.partition('_')[0]}-{name}"] = (sets, row)
    return known
