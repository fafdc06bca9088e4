"""`Strategy`: what every way of choosing images has in common, and finding one by name."""

import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar, Literal, cast

import fmsel.selection
from fmsel.errors import BudgetError, OptionError
from fmsel.selection.pool.pool import IntArray, Pool

LabelUse = Literal["none", "training", "formula", "stratified"]


@dataclass(frozen=True)
class Strategy(ABC):
    """A way of choosing images; a subclass is a frozen dataclass of its parameters.

    Attributes:
        LABEL_USE: how far the choice reads labels that a real user does not have yet.
        RANDOM: whether chance makes the choice, so that every replicate draws it anew.
    """

    LABEL_USE: ClassVar[LabelUse]
    RANDOM: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Its module's name."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The scores that it reads; a strategy that ranks by scores has a field of this name."""
        return ()

    def query(self, pool: Pool, *, batch_size: int, seed: int = 0) -> IntArray:
        """Choose images, the same ones for the same pool, size and seed.

        Returns:
            (batch_size,) distinct global indices in pick order.
        Raises:
            BudgetError: the pool, or one of its classes, cannot give so many.
            DataError: the strategy needs labels and there are none.
            OptionError: unusable parameters.
        """
        if seed < 0:
            raise OptionError(f"the seed must be 0 or more, got {seed}")
        if batch_size < 1:
            raise BudgetError(f"cannot choose {batch_size} images; ask for 1 or more")
        return self._pick(pool, batch_size, seed)

    @abstractmethod
    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        """`query` after validation."""


def strategy_names() -> list[str]:
    """Every plain module of `fmsel.selection`, sorted."""
    modules = pkgutil.iter_modules(fmsel.selection.__path__)
    return sorted(module.name for module in modules if not module.ispkg)


def strategy_class(name: str) -> type[Strategy]:
    """The class of one strategy: module `random_stratified` holds `RandomStratified`.

    Raises:
        OptionError: there is no such strategy; the message names those there are.
    """
    if name not in strategy_names():
        raise OptionError(
            f"there is no selection strategy {name!r}; there are {', '.join(strategy_names())}"
        )
    module = import_module(f"fmsel.selection.{name}")
    class_name = "".join(word.capitalize() for word in name.split("_"))
    return cast(type[Strategy], getattr(module, class_name))
