"""What a person asks of `fmsel split`, checked, as a strategy and a number of labels."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fmsel.errors import OptionError
from fmsel.metrics.scores import PREFERRED
from fmsel.selection.mixed import Mixed
from fmsel.selection.outliers import Outliers
from fmsel.selection.pool import Strategy
from fmsel.selection.pool.extremes import EXTREME_TAIL, Band
from fmsel.selection.pool.within import WithinClasses
from fmsel.selection.prototypes import Prototypes
from fmsel.selection.published import Published
from fmsel.selection.random import Random
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split.parameters import parse_band, parse_strategy

# Which options may go with which way of choosing; the first of them says which way it is.
WAYS = {
    "random": {"total", "per_class"},
    "strategy": {"budget", "per_class", "settings", "metrics", "outlier_band", "clusters"},
    "published": {"budget"},
    "ratio": {"per_class", "outlier_band", "metrics"},
    "protos": {"outliers", "outlier_band", "metrics", "clusters"},
}
PER_CLASS = "--per-class goes with --random, with --strategy or with --ratio; add one of them"


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `fmsel split`, one field each; None = not given.

    Raises:
        OptionError: options that are out of range, incomplete or contradict each other.
    """

    random: bool = False
    total: int | None = None  # the N of --random N: labels in all
    strategy: str | None = None  # its name
    published: str | None = None  # name of an index set
    budget: int | None = None  # new labels in all
    per_class: int | None = None  # labels
    protos: int | None = None  # a class, or a cluster
    outliers: int | None = None  # a class, or a cluster
    ratio: float | None = None  # share of prototypes, 0..1
    outlier_band: str | None = None  # percentiles from the outlier end, such as "5-20"
    clusters: int | None = None  # in place of classes
    settings: tuple[str, ...] = ()  # KEY=VALUE, parameters of the strategy
    metrics: tuple[str, ...] = ()  # none named = the default ones

    def __post_init__(self) -> None:
        for field, least in {
            "total": 1,
            "per_class": 1,
            "budget": 1,
            "clusters": 1,
            "protos": 0,
            "outliers": 0,
        }.items():
            value = getattr(self, field)
            if value is not None and value < least:
                raise OptionError(f"{_option(field)} must be {least} or more, got {value}")
        if self.ratio is not None and not 0 <= self.ratio <= 1:
            raise OptionError(
                f"--ratio is a share of prototypes within 0..1, got {self.ratio:g}; "
                "0.75 takes three prototypes for every outlier"
            )
        self._refuse_conflicts()
        self._refuse_gaps()

    @property
    def _way(self) -> str:
        """One of `WAYS`."""
        given = self._given
        if found := [way for way in (*WAYS, "outliers") if way in given]:
            return found[0] if found[0] in WAYS else "protos"
        if "per_class" in given:
            raise OptionError(PER_CLASS)
        if "clusters" in given:
            raise OptionError(
                "--clusters goes with --protos and --outliers, or with --strategy density_mix and "
                "--budget; add one of them"
            )
        raise OptionError(
            "nothing to choose: pass --random N, or --strategy NAME with --budget N (`fmsel split "
            "strategies` lists them), or --protos P and --outliers O, or --ratio with --per-class"
        )

    @property
    def _given(self) -> Mapping[str, object]:
        """The options that were given, by field."""
        values = {field: getattr(self, field) for field in self.__dataclass_fields__}
        return {
            field: value
            for field, value in values.items()
            if value is not None and value is not False and value != ()
        }

    def _refuse_conflicts(self) -> None:
        way, given = self._way, self._given
        if way == "ratio" and given.keys() & {"protos", "outliers"}:
            raise OptionError(
                "--ratio with --per-class and --protos with --outliers are two ways to say "
                "the same; use one of them"
            )
        if way == "protos" and "per_class" in given:
            raise OptionError(PER_CLASS)
        clash = [_option(field) for field in given if field != way and field not in WAYS[way]]
        if clash and way == "random":
            raise OptionError(
                f"--random ranks nothing, so it cannot go with {', '.join(clash)}; leave one out"
            )
        if clash:
            raise OptionError(f"{_option(way)} does not go with {', '.join(clash)}; leave one out")

    def _refuse_gaps(self) -> None:
        way = self._way
        if way == "random" and (self.total is None) == (self.per_class is None):
            raise OptionError(
                "--random takes either N, labels in all, or --per-class N, labels of each class"
            )
        if way == "strategy" and (self.budget is None) == (self.per_class is None):
            raise OptionError(
                "--strategy takes either --budget N, new labels in all, or --per-class N, new "
                "labels of each class, which reads labels"
            )
        if way == "ratio" and self.per_class is None:
            raise OptionError("--ratio needs --per-class: how many labels a class to share out")
        if way == "protos" and not (self.protos or self.outliers):
            raise OptionError(
                "nothing to choose: of --protos P and --outliers O at least one must be above 0"
            )
        if way in ("ratio", "protos") and self.outlier_band is not None and self.share == 1:
            raise OptionError("--outlier-band says which outliers to take, but none are asked for")
        if self.clusters is not None and way == "protos" and self.metrics:
            raise OptionError(
                "--clusters ranks by the density of embeddings, so it cannot go with --metric; "
                "leave one out"
            )

    @property
    def share(self) -> float:
        """Share of prototypes, 0..1."""
        if self.ratio is not None:
            return self.ratio
        return (self.protos or 0) / ((self.protos or 0) + (self.outliers or 0))

    @cached_property
    def chosen(self) -> Strategy:
        """The strategy with its parameters."""
        way = self._way
        if way == "random":
            return Random() if self.total is not None else RandomStratified()
        if way == "published":
            return parse_strategy("published", set=self.published)
        if way == "strategy":
            return self._named()
        band = EXTREME_TAIL if self.outlier_band is None else parse_band(self.outlier_band)
        if self.clusters is not None:
            return parse_strategy(
                "density_mix", clusters=self.clusters, ratio=self.share, outlier_band=band
            )
        metrics = self.metrics or PREFERRED
        if self.share == 1:
            return Prototypes(metrics=metrics)
        if self.share == 0:
            return Outliers(outlier_band=band, metrics=metrics)
        return Mixed(ratio=self.share, outlier_band=band, metrics=metrics)

    def _named(self) -> Strategy:
        assert self.strategy is not None
        band: Band | None = parse_band(self.outlier_band) if self.outlier_band else None
        made = parse_strategy(
            self.strategy,
            self.settings,
            metrics=self.metrics or None,
            outlier_band=band,
            clusters=self.clusters,
        )
        if self.per_class is None or made.LABEL_USE != "none":
            return made
        return RandomStratified() if made.RANDOM else WithinClasses(made)

    @property
    def file_name(self) -> str:
        """Default name of the split's file: random, mixed, …"""
        return f"{self.published or self.chosen.name}.json"

    def batch_size(self, n_classes: int) -> int:
        """New labels in all, over `n_classes` classes."""
        total = self.total if self.total is not None else self.budget
        if total is not None:
            return total
        if isinstance(self.chosen, Published):
            return self.chosen.size
        each = self.per_class or (self.protos or 0) + (self.outliers or 0)
        if self.clusters is not None and self.strategy is None:
            return each * self.clusters
        return each * max(n_classes, 1)  # without classes the strategy says that it needs labels


def _option(field: str) -> str:
    """How a field is written on the command line."""
    known = {"total": "--random", "settings": "--set", "metrics": "--metric"}
    return known.get(field, f"--{field.replace('_', '-')}")


def parse_total(text: str) -> int | None:
    """The N of `--random N`; None where `text` is empty; OptionError where it is no integer."""
    if text and not re.fullmatch(r"-?\d{1,18}", text):
        raise OptionError(f"--random takes a whole number of labels, such as 40, got {text!r}")
    return int(text) if text else None
