"""`random_stratified`: uniform within each class, as FixMatch's experiments do (section 4.1).

An oracle: it reads the label of every image in order to choose which images to label.
"""

from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar

from fmsel.seeds import generator
from fmsel.selection.pool import IntArray, LabelUse, Oracle, Pool
from fmsel.selection.pool.classes import (
    check_share,
    class_turns,
    members,
    shares,
    take_in_turn,
)


@dataclass(frozen=True)
class RandomStratified(Oracle):
    """Equally many images of each class, those labelled already among them.

    If the budget does not divide, chance places the rest.
    """

    LABEL_USE: ClassVar[LabelUse] = "stratified"
    RANDOM: ClassVar[bool] = True

    def _pick_by_class(self, pool: Pool, batch_size: int, seed: int, truth: IntArray) -> IntArray:
        by_class = members(pool, truth)
        turns = class_turns(pool, truth, batch_size, generator(seed, "shares of classes"))
        for name, own, share in zip(pool.class_names, by_class, shares(pool, turns), strict=True):
            check_share(name, len(own), share)
        drawn = [
            generator(seed, "random", label).permutation(own) for label, own in enumerate(by_class)
        ]
        return take_in_turn(pool, turns, [repeat(iter(order)) for order in drawn])
