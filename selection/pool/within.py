"""`WithinClasses`: any strategy that reads no labels, in each class apart."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from fmsel.errors import OptionError
from fmsel.seeds import generator
from fmsel.selection.pool.classes import check_share, class_turns, in_turn, shares
from fmsel.selection.pool.eligible import Eligible
from fmsel.selection.pool.pool import IntArray, Pool
from fmsel.selection.pool.strategy import LabelUse, Oracle, Strategy

SUFFIX = "_within_classes"


@dataclass(frozen=True)
class WithinClasses(Oracle):
    """Equally many images of each class, chosen by `inner` from the images of that class alone.

    An oracle. As in `RandomStratified`, labels held already count in the shares. Where a group
    spans classes, the first of them to choose an image closes it for the others.

    Raises:
        OptionError: `inner` reads labels itself.
    """

    LABEL_USE: ClassVar[LabelUse] = "stratified"
    NESTED: ClassVar[bool] = False  # a larger share of one class may close groups of another

    inner: Strategy

    def __post_init__(self) -> None:
        if self.inner.LABEL_USE != "none":
            raise OptionError(
                f"{self.inner.name} reads labels itself, so it cannot run within classes; "
                "leave one of the two out"
            )
        for trait in ("RANDOM", "NEEDS", "DISTRIBUTED"):
            object.__setattr__(self, trait, getattr(self.inner, trait))

    @property
    def name(self) -> str:
        """That of the strategy inside and `SUFFIX`; no module is called so."""
        return self.inner.name + SUFFIX

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of the strategy inside."""
        return self.inner.metrics

    def _pick_by_class(self, pool: Pool, batch_size: int, seed: int, truth: IntArray) -> IntArray:
        turns = class_turns(pool, truth, batch_size, generator(seed, "shares of classes"))
        eligible = Eligible(pool)
        picks = []
        for label, share in enumerate(shares(pool, turns)):
            own = _one_class(pool, truth == label, np.flatnonzero(eligible.mask))
            check_share(pool.class_names[label], own.most, share)
            of_class = int(generator(seed, "within classes", label).integers(2**31))
            picks.append(
                self.inner.query(own, batch_size=int(share), seed=of_class)
                if share
                else own.available[:0]
            )
            eligible.take_first(picks[-1], int(share))
        return in_turn(turns, picks)


def _one_class(pool: Pool, mine: IntArray, free: IntArray) -> Pool:
    """The pool with the images of one class alone, given (N,) bool, as candidates or held."""
    labels = None if pool.labels is None else np.where(mine, pool.labels, -1)
    return replace(
        pool, labels=labels, labeled=pool.labeled[mine[pool.labeled]], candidates=free[mine[free]]
    )
