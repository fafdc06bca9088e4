"""`Setup`: everything that a loop depends on, checked before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fmsel.artefacts import versions
from fmsel.datasets import ImageDataset
from fmsel.errors import BudgetError, DataError, OptionError
from fmsel.experiments.loop.plan import Plan
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run.job import Options
from fmsel.labeling.answers import check_classes
from fmsel.metrics.scores import Scores
from fmsel.selection.instability import FEWEST
from fmsel.selection.pool import Oracle, Strategy
from fmsel.selection.pool.strategy import HOW_TO_GET
from fmsel.selection.split.known import Known
from fmsel.selection.split.make import as_parameters, restrictions
from fmsel.selection.split.parameters import parse_strategy
from fmsel.training.engine.device import resolve_device, resolve_precision

SCHEMA = 1  # of loop.json


@dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """What is compared, on which images, trained how, and who labels.

    Attributes:
        data, test: both parts of the data set.
        strategies: one or more, each with tracks of its own.
        start: makes the first round of the strategies that need a trained run.
        budgets: labels at the end of each round, those of earlier rounds included; rising.
        seeds: number of tracks a strategy; their seeds are 0, 1, …
        config: the recipe.
        options: how runs are made, beside the recipe.
        warm_start: each run starts from the averaged weights of the round before.
        embedding: what strategies read that need features and no run; None = there is none.
        heeds: the exclusions and groups that every choice heeds; no evidence of it is read.
        scores, scores_file: what strategies that read metrics rank by.
        answers: a file or folder of people's answers, which need not be there yet; None = the data
            set's own labels answer at once.
    Raises:
        BudgetError: budgets that do not rise, or beyond the images.
        DataError: no labels or no classes where they are needed.
        OptionError: a strategy named twice, without what it reads, or a start that needs a run.
    """

    data: ImageDataset
    test: ImageDataset | None
    strategies: Sequence[Strategy]
    start: Strategy
    budgets: Sequence[int]
    seeds: int
    config: FixMatchConfig
    options: Options
    warm_start: bool = False
    embedding: Known | None = None
    heeds: Known = field(default_factory=Known)
    scores: Scores | None = None
    scores_file: str = ""
    answers: Path | None = None

    def __post_init__(self) -> None:
        names = [each.name for each in self.strategies]
        if twice := [name for name in names if names.count(name) > 1]:
            raise OptionError(f"--strategy {twice[0]} is given twice; leave one out")
        if not names:
            raise OptionError("nothing to compare: name a --strategy, or several")
        if self.seeds < 1:
            raise OptionError(f"--seeds must be 1 or more, got {self.seeds}")
        if needs_run(self.start):
            raise OptionError(
                f"--start {self.start.name} needs a trained run itself; start with one that does "
                "not, such as random"
            )
        self._check_budgets()
        self._check_labels()
        for each in self.used:
            self._check_reads(each)

    def _check_budgets(self) -> None:
        budgets = list(self.budgets)
        if not budgets or budgets[0] < 2 or sorted(set(budgets)) != budgets:
            raise BudgetError(
                "--budgets are numbers of labels, 2 or more, that rise from round to round, such "
                f"as 10,20,40; got {','.join(map(str, budgets)) or 'none'}"
            )
        if budgets[-1] > len(self.data):
            raise BudgetError(
                f"--budgets go up to {budgets[-1]} labels, but {self.data.name} has "
                f"{len(self.data)} training images; end with fewer"
            )
        if budgets[-1] > (most := self.heeds.pool(self.data, {}).most):
            raise BudgetError(
                f"--budgets go up to {budgets[-1]} labels, but {most} of the {len(self.data)} "
                f"training images of {self.data.name} can be chosen, as the others are excluded or "
                "in one group with these; end with fewer"
            )

    def _check_labels(self) -> None:
        data = self.data
        if self.answers is not None:
            check_classes(data)
        elif not data.labelled:
            raise DataError(
                f"{int((data.labels < 0).sum())} of the {len(data)} training images of {data.name} "
                "have no label to answer with; pass --labels FOLDER, for people's answers"
            )

    def _check_reads(self, strategy: Strategy) -> None:
        strategy.check_data(self.data)
        if reads_embedding(strategy) and self.embedding is None:
            raise OptionError(f"{strategy.name} needs {HOW_TO_GET['features']}")
        if "history" in strategy.NEEDS and -(-self.config.steps // self.config.eval_every) < FEWEST:
            raise OptionError(
                f"{strategy.name} compares {FEWEST} or more evaluations of a run, and of "
                f"{self.config.steps} steps only the last is evaluated, as the recipe evaluates "
                f"every {self.config.eval_every}; pass --steps {self.config.eval_every + 1} or more"
            )
        if isinstance(strategy, Oracle) and not self.data.labelled:
            raise DataError(
                f"{strategy.name} reads the labels of all images, and {self.data.name} lacks some; "
                "leave it out"
            )

    @cached_property
    def used(self) -> tuple[Strategy, ...]:
        """The strategies, and the start where some of them need it."""
        late = any(map(needs_run, self.strategies))
        named = {each.name for each in self.strategies}
        extra = late and self.start.name not in named
        return (*self.strategies, self.start) if extra else tuple(self.strategies)

    @cached_property
    def plan(self) -> Plan:
        """The rounds."""
        return Plan(
            strategies=tuple(each.name for each in self.strategies),
            late=frozenset(each.name for each in self.strategies if needs_run(each)),
            start=self.start.name,
            seeds=self.seeds,
            rounds=len(self.budgets),
        )

    @cached_property
    def keep_history(self) -> bool:
        """Whether runs keep their predictions of all images, which some strategy reads."""
        return any("history" in each.NEEDS for each in self.strategies)

    def strategy(self, name: str) -> Strategy:
        """The one of this name."""
        return next(each for each in self.used if each.name == name)

    def as_dict(self) -> dict[str, Any]:
        """What loop.json holds."""
        return {
            "schema_version": SCHEMA,
            "dataset": {**self.data.describe(), "class_names": list(self.data.class_names)},
            "test": self.test.describe() if self.test is not None else None,
            "strategies": {each.name: _described(each) for each in self.strategies},
            "start": {self.start.name: _described(self.start)} if self.plan.late else None,
            "budgets": list(self.budgets),
            "seeds": list(range(self.seeds)),
            "labels": "dataset" if self.answers is None else "people",
            "embeddings": None if self.embedding is None else dict(self.embedding.provenance),
            "scores": self._scores(),
            "restrictions": {**self.heeds.provenance, **restrictions(self.heeds)} or None,
            "training": {
                "mode": "supervised" if self.options.supervised_only else "fixmatch",
                "warm_start": self.warm_start,
                "history": self.keep_history,
                "precision": resolve_precision(
                    self.options.precision, resolve_device(self.options.device)
                ),
                "deterministic": self.options.deterministic,
                "fixmatch": self.config.as_dict(),
            },
            "versions": versions("torch"),
        }

    def _scores(self) -> dict[str, Any] | None:
        read = {metric for each in self.used for metric in each.metrics}
        if self.scores is None or not read:
            return None
        records = self.scores.records
        arrays = {name: records[name].sha256 for name in sorted(read & records.keys())}
        return {"file": self.scores_file, "arrays": arrays}


def needs_run(strategy: Strategy) -> bool:
    """Whether it cannot choose before something was trained."""
    return not {"probabilities", "history"}.isdisjoint(strategy.NEEDS)


def reads_embedding(strategy: Strategy) -> bool:
    """Whether its features are those of the embedding; one that needs a run reads the run's."""
    return "features" in strategy.NEEDS and not needs_run(strategy)


def _described(strategy: Strategy) -> dict[str, Any]:
    return {
        "parameters": as_parameters(strategy),
        "label_use": strategy.LABEL_USE,
        "needs": list(strategy.NEEDS),
    }


def parse_strategies(names: Sequence[str], settings: Sequence[str]) -> list[Strategy]:
    """The strategies, with the `settings` NAME.KEY=VALUE of each.

    Raises:
        OptionError: an unknown strategy or parameter, or a setting of no strategy named.
    """
    own: Mapping[str, list[str]] = {name.replace("-", "_"): [] for name in names}
    for text in settings:
        name, dot, setting = text.partition(".")
        if not dot or name.replace("-", "_") not in own:
            raise OptionError(
                f"--set takes STRATEGY.KEY=VALUE with one of {', '.join(own)}, got {text!r}"
            )
        own[name.replace("-", "_")].append(setting)
    return [parse_strategy(name, own[name.replace("-", "_")]) for name in names]


def parse_budgets(text: str) -> list[int]:
    """The numbers in "10,20,40"; OptionError where it is no such list."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise OptionError(f"--budgets takes numbers of labels, such as 10,20,40, got {text!r}")
    return [int(part) for part in parts]
