"""Which round is next: tracks of rounds, and how far each of them has come."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path

from fmsel.seeds import generator


class Stage(Enum):
    """How far a round has come: what is to be done next."""

    CHOOSE = "choose"
    LABEL = "label"
    TRAIN = "train"
    DONE = "done"


@dataclass(frozen=True)
class Round:
    """One round of one track: `number` counts from 0."""

    strategy: str
    seed: int
    number: int

    @property
    def folder(self) -> Path:
        """Relative to the loop's folder."""
        return Path("tracks", f"{self.strategy}-seed{self.seed}", f"round-{self.number}")

    @property
    def table(self) -> str:
        """What people fill in, without suffix: a name that no other round's has."""
        return f"to-label-{self.strategy}-seed{self.seed}-round-{self.number}"

    @property
    def selection_seed(self) -> int:
        """Of the choice: the track's in the first round, and one of its own in each later one.

        One seed in all rounds would draw the same places of a list that only lost a few images.
        """
        if not self.number:
            return self.seed
        return int(generator(self.seed, "rounds of a loop", self.number).integers(2**31))

    def __str__(self) -> str:
        return f"{self.strategy}, seed {self.seed}, round {self.number}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All rounds of a loop.

    Attributes:
        strategies: names, each with one track a seed.
        late: those of them that need a trained run, so that `start` makes their first round.
        start: the strategy of that round; it is the first round of the start's own track, whether
            or not that goes on.
        seeds: number of seeds, which are 0, 1, …
        rounds: number of rounds, the first included.
    """

    strategies: tuple[str, ...]
    late: frozenset[str]
    start: str
    seeds: int
    rounds: int

    @cached_property
    def tracks(self) -> tuple[tuple[Round, ...], ...]:
        """The rounds of every track, in order; those of one seed stand together."""
        return tuple(
            self.track(name, seed) for seed in range(self.seeds) for name in self.strategies
        )

    def track(self, strategy: str, seed: int) -> tuple[Round, ...]:
        """The rounds of one track."""
        own = tuple(Round(strategy, seed, number) for number in range(self.rounds))
        if strategy not in self.late:
            return own
        return (Round(self.start, seed, 0), *own[1:])

    @property
    def every(self) -> tuple[Round, ...]:
        """All rounds; one that tracks share is there once."""
        return tuple(dict.fromkeys(each for track in self.tracks for each in track))

    @property
    def first(self) -> tuple[Round, ...]:
        """The rounds that nothing comes before."""
        return tuple(each for each in self.every if not each.number)

    def before(self, each: Round) -> tuple[Round, ...]:
        """The rounds of its track that come before, in order."""
        return self.track(each.strategy, each.seed)[: each.number]

    def next_rounds(self, stage: Callable[[Round], Stage]) -> dict[Round, Stage]:
        """The first unfinished round of every track; none when all is done."""
        found: dict[Round, Stage] = {}
        for track in self.tracks:
            for each in track:
                if (now := stage(each)) is not Stage.DONE:
                    found[each] = now
                    break
        return found
