"""`random_stratified`: uniform within each class, as FixMatch's experiments do (section 4.1).

An oracle: it reads the label of every image in order to choose which images to label.
"""

from dataclasses import dataclass
from typing import ClassVar

from fmsel.errors import BudgetError
from fmsel.seeds import generator
from fmsel.selection.pool import IntArray, LabelUse, Oracle, Pool
from fmsel.selection.pool.classes import even_shares, interleave, members


@dataclass(frozen=True)
class RandomStratified(Oracle):
    """Equally many images of each class; if the budget does not divide, chance places the rest."""

    LABEL_USE: ClassVar[LabelUse] = "stratified"
    RANDOM: ClassVar[bool] = True

    def _pick_by_class(self, pool: Pool, batch_size: int, seed: int, truth: IntArray) -> IntArray:
        by_class = members(pool, truth)
        shares = even_shares(batch_size, len(by_class), generator(seed, "shares of classes"))
        picks = []
        for label, (own, share) in enumerate(zip(by_class, shares, strict=True)):
            if share > len(own):
                raise BudgetError(
                    f"class {pool.class_names[label]!r} has {len(own)} images, fewer than the "
                    f"{share} asked of it; ask for fewer a class"
                )
            picks.append(generator(seed, "random", label).permutation(own)[:share])
        return interleave(picks)
