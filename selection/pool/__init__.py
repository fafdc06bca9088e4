"""What a strategy reads (`Pool`), what it is (`Strategy`), and the steps that strategies share.

The seam follows scikit-activeml (the constructor stores parameters, `query` validates and returns
ordered int64 indices) with three changes. `X`, `y` and `candidates` travel together as one `Pool`,
because strategies differ in which evidence they read; labels that nobody holds yet are an argument
of their own, for oracles only. And the seed is an argument of `query`, so that one strategy object
serves all replicates.
"""

from fmsel.selection.pool.eligible import Eligible
from fmsel.selection.pool.pool import IntArray, Pool
from fmsel.selection.pool.strategy import (
    Choice,
    Evidence,
    LabelUse,
    Oracle,
    Strategy,
    strategy_class,
    strategy_names,
)

__all__ = [
    "Choice",
    "Eligible",
    "Evidence",
    "IntArray",
    "LabelUse",
    "Oracle",
    "Pool",
    "Strategy",
    "strategy_class",
    "strategy_names",
]
