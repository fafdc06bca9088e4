"""`Strategy`: what every way of choosing images has in common, and finding one by name."""

import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

import fmsel.selection
from fmsel.errors import BudgetError, DataError, OptionError
from fmsel.selection.pool.pool import IntArray, Pool

if TYPE_CHECKING:  # the images' package takes long to import
    from fmsel.datasets import ImageDataset

LabelUse = Literal["none", "training", "formula", "stratified"]
Evidence = Literal["features", "probabilities", "history"]

HOW_TO_GET: dict[Evidence, str] = {
    "features": "embeddings; make them with `fmsel embed` and name the file with --embeddings",
    "probabilities": "the predictions of a trained run; name its folder with --run",
    "history": "a run's predictions at its last evaluations; train with --keep-history and name "
    "the run's folder with --run",
}


class Choice(NamedTuple):
    """What a strategy chose."""

    indices: IntArray  # (B,) in pick order
    # (B,) which of a choice of both ends are prototypes, the others being outliers; None of others
    prototypes: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Strategy(ABC):
    """A way of choosing images; a subclass is a frozen dataclass of its parameters.

    Attributes:
        LABEL_USE: how far the choice reads labels that a real user does not have yet.
        RANDOM: whether chance alone makes the choice, so that every replicate draws it anew.
        NESTED: whether a prefix of a choice is the choice of the smaller budget.
        NEEDS: what the pool must hold besides scores.
        DISTRIBUTED: whether its passes over all images run on the pool's backend.
        EXHAUSTIVE: whether it gives any number of images that the pool has; others may find too
            few in a class, a cluster or a list.
    """

    LABEL_USE: ClassVar[LabelUse]
    RANDOM: ClassVar[bool] = False
    NESTED: ClassVar[bool] = True
    NEEDS: ClassVar[tuple[Evidence, ...]] = ()
    DISTRIBUTED: ClassVar[bool] = False
    EXHAUSTIVE: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Its module's name."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The scores that it reads; a strategy that ranks by scores has a field of this name."""
        return ()

    def check_data(self, data: "ImageDataset") -> None:  # noqa: B027 - most suit any images
        """DataError where the strategy suits other images only."""

    def query(
        self, pool: Pool, *, batch_size: int, seed: int = 0, truth: IntArray | None = None
    ) -> IntArray:
        """Choose images, the same ones for the same pool, size and seed.

        Args:
            pool: what is known.
            batch_size: how many to choose, besides those that are labelled already.
            seed: of everything random.
            truth: (N,) int64 labels of all images, -1 where unknown; read by oracles only, which
                prefer the labels that the pool holds.
        Returns:
            (batch_size,) distinct global indices in pick order: available ones of the pool, no two
            of one group.
        Raises:
            BudgetError: the pool, or one of its classes, cannot give so many.
            DataError: the strategy needs labels or other evidence that is not there.
            OptionError: unusable parameters.
        """
        return self.choose(pool, batch_size=batch_size, seed=seed, truth=truth).indices

    def choose(
        self, pool: Pool, *, batch_size: int, seed: int = 0, truth: IntArray | None = None
    ) -> Choice:
        """`query`, with which images are prototypes and which outliers, of a choice of both."""
        if seed < 0:
            raise OptionError(f"the seed must be 0 or more, got {seed}")
        if batch_size < 1:
            raise BudgetError(f"cannot choose {batch_size} images; ask for 1 or more")
        if missing := [each for each in self.NEEDS if getattr(pool, each) is None]:
            raise DataError(f"{self.name} needs {HOW_TO_GET[missing[0]]}")
        if batch_size > pool.most:
            raise BudgetError(_too_many(pool, batch_size))
        found = self._choose(pool, batch_size, seed, truth)
        if not isinstance(found, Choice):
            found = Choice(found)
        return found._replace(indices=np.asarray(found.indices, dtype=np.int64))

    def _choose(
        self, pool: Pool, batch_size: int, seed: int, truth: IntArray | None
    ) -> IntArray | Choice:
        return self._pick(pool, batch_size, seed)

    @abstractmethod
    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray | Choice:
        """`choose` after validation; at most `pool.most` images are asked for."""


class Oracle(Strategy):
    """A strategy that reads the label of every image, which nobody has before labelling."""

    EXHAUSTIVE: ClassVar[bool] = False

    def _choose(
        self, pool: Pool, batch_size: int, seed: int, truth: IntArray | None
    ) -> IntArray | Choice:
        known = np.full(pool.n, -1, dtype=np.int64) if truth is None else truth
        if pool.labels is not None:
            known = np.where(pool.labels >= 0, pool.labels, known)
        if not (known[pool.available] >= 0).any():
            raise DataError(
                "choosing within each class needs labels, and these images have none; "
                "choose by --budget N or --random N, which read none"
            )
        return self._pick_by_class(pool, batch_size, seed, known)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        raise NotImplementedError  # `_choose` never comes here

    @abstractmethod
    def _pick_by_class(
        self, pool: Pool, batch_size: int, seed: int, truth: IntArray
    ) -> IntArray | Choice:
        """`choose` after validation, with (N,) labels, some of them of available images."""


def _too_many(pool: Pool, batch_size: int) -> str:
    of = f"{len(pool.available)} images"
    if pool.groups is not None and pool.most < len(pool.available):
        of += f" in {pool.most} groups, of which at most one image each may be chosen"
    if len(pool.held):
        of += f" beside the {len(pool.held)} that are labelled already"
    return f"cannot choose {batch_size} of {of}; ask for at most {pool.most}"


def strategy_names() -> list[str]:
    """Every plain module of `fmsel.selection`, sorted."""
    modules = pkgutil.iter_modules(fmsel.selection.__path__)
    return sorted(module.name for module in modules if not module.ispkg)


def strategy_class(name: str) -> type[Strategy]:
    """The class of one strategy: module `random_stratified` holds `RandomStratified`.

    Raises:
        OptionError: there is no such strategy; the message names those there are.
    """
    name = name.replace("-", "_")
    if name not in strategy_names():
        raise OptionError(
            f"there is no selection strategy {name!r}; there are {', '.join(strategy_names())}"
        )
    module = import_module(f"fmsel.selection.{name}")
    class_name = "".join(word.capitalize() for word in name.split("_"))
    return cast(type[Strategy], getattr(module, class_name))
