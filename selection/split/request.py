"""What a person asks of `fmsel split`, checked, as a strategy and a number of labels."""

import re
from dataclasses import dataclass

from fmsel.errors import OptionError
from fmsel.metrics.scores import PREFERRED
from fmsel.selection.mixed import Mixed
from fmsel.selection.outliers import Outliers
from fmsel.selection.pool import Strategy
from fmsel.selection.pool.extremes import EXTREME_TAIL, Band
from fmsel.selection.prototypes import Prototypes
from fmsel.selection.random import Random
from fmsel.selection.random_stratified import RandomStratified


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `fmsel split`, one field each; None = not given.

    Raises:
        OptionError: options that are out of range, incomplete or contradict each other.
    """

    random: bool = False
    total: int | None = None  # the N of --random N: labels in all
    per_class: int | None = None  # labels
    protos: int | None = None  # a class
    outliers: int | None = None  # a class
    ratio: float | None = None  # share of prototypes, 0..1
    outlier_band: str | None = None  # percentiles from the outlier end, such as "5-20"
    metrics: tuple[str, ...] = ()  # none named = the default ones

    def __post_init__(self) -> None:
        for option in ("total", "per_class", "protos", "outliers"):
            value, least = getattr(self, option), int(option in ("total", "per_class"))
            if value is not None and value < least:
                name = "random" if option == "total" else option.replace("_", "-")
                raise OptionError(f"--{name} must be {least} or more, got {value}")
        if self.ratio is not None and not 0 <= self.ratio <= 1:
            raise OptionError(
                f"--ratio is a share of prototypes within 0..1, got {self.ratio:g}; "
                "0.75 takes three prototypes for every outlier"
            )
        self._refuse_conflicts()

    def _refuse_conflicts(self) -> None:
        if self.random:
            return self._refuse_conflicts_of_random()
        if self.ratio is not None:
            if self.protos is not None or self.outliers is not None:
                raise OptionError(
                    "--ratio with --per-class and --protos with --outliers are two ways to say "
                    "the same; use one of them"
                )
            if self.per_class is None:
                raise OptionError("--ratio needs --per-class: how many labels a class to share out")
        elif self.per_class is not None:
            raise OptionError("--per-class goes with --random or with --ratio; add one of them")
        elif not (self.protos or self.outliers):
            raise OptionError(
                "nothing to choose: pass --random N, or --protos P and --outliers O with at least "
                "one of them above 0, or --ratio with --per-class"
            )
        if self.outlier_band is not None and self.share == 1:
            raise OptionError("--outlier-band says which outliers to take, but none are asked for")

    def _refuse_conflicts_of_random(self) -> None:
        given = {
            "--protos": self.protos is not None,
            "--outliers": self.outliers is not None,
            "--ratio": self.ratio is not None,
            "--outlier-band": self.outlier_band is not None,
            "--metric": bool(self.metrics),
        }
        if clash := [option for option, there in given.items() if there]:
            raise OptionError(
                f"--random ranks nothing, so it cannot go with {', '.join(clash)}; leave one out"
            )
        if (self.total is None) == (self.per_class is None):
            raise OptionError(
                "--random takes either N, labels in all, or --per-class N, labels of each class"
            )

    @property
    def share(self) -> float:
        """Share of prototypes, 0..1."""
        if self.ratio is not None:
            return self.ratio
        return (self.protos or 0) / ((self.protos or 0) + (self.outliers or 0))

    @property
    def strategy(self) -> Strategy:
        """The strategy with its parameters."""
        if self.random:
            return Random() if self.total is not None else RandomStratified()
        metrics = self.metrics or PREFERRED
        if self.share == 1:
            return Prototypes(metrics=metrics)
        band = EXTREME_TAIL if self.outlier_band is None else parse_band(self.outlier_band)
        if self.share == 0:
            return Outliers(outlier_band=band, metrics=metrics)
        return Mixed(ratio=self.share, outlier_band=band, metrics=metrics)

    @property
    def file_name(self) -> str:
        """Default name of the split's file: random, prototypes, outliers or mixed."""
        return f"{'random' if self.random else self.strategy.name}.json"

    def batch_size(self, n_classes: int) -> int:
        """Labels in all, over `n_classes` classes."""
        if self.total is not None:
            return self.total
        each = self.per_class or (self.protos or 0) + (self.outliers or 0)
        return each * max(n_classes, 1)  # without classes the strategy says that it needs labels


def parse_total(text: str) -> int | None:
    """The N of `--random N`; None where `text` is empty; OptionError where it is no integer."""
    if text and not re.fullmatch(r"-?\d{1,18}", text):
        raise OptionError(f"--random takes a whole number of labels, such as 40, got {text!r}")
    return int(text) if text else None


def parse_band(text: str) -> Band:
    """`"5-20"` as a `Band`; OptionError where it is no rising pair of percentiles."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", text.strip())
    if match is None:
        raise OptionError(
            f"--outlier-band takes two percentiles from the outlier end, such as 5-20, got {text!r}"
        )
    return Band(float(match[1]), float(match[2]))
