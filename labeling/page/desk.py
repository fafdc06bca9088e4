"""`Desk`: who answered what, who is looking at what, and which image is whose next."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fmsel.labeling.answers import SKIP
from fmsel.labeling.page.lines import Added, Entry

LEASE = 60.0  # seconds that images are kept for somebody who does nothing
GONE = 60 * LEASE  # seconds after which nobody counts on a lease any more


class Current(NamedTuple):
    """Somebody's answer about an image, as it stands."""

    choice: str
    seq: int


@dataclass(frozen=True)
class _Lease:
    indices: Collection[int]
    until: float  # on the desk's clock


class Desk:
    """The state of a task, made by the lines of its journal and by who is there now.

    Nothing here waits or writes; whoever uses it from several threads holds a lock.

    Attributes:
        indices: of the images to label, in the split's order.
        votes: answers that an image needs to be done.
        answers: index -> annotator -> what counts; of other images of the split too.
        added: classes that people added, in order.
    """

    def __init__(
        self, indices: Sequence[int], votes: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.indices, self.votes = indices, votes
        self._places = {index: place for place, index in enumerate(indices)}
        self._clock, self._leases = clock, dict[str, _Lease]()
        self.reset(())

    def reset(self, entries: Iterable[Entry]) -> None:
        """Begin again with these lines; who looks at what stays."""
        self.answers = dict[int, dict[str, Current]]()
        self.added = list[str]()
        self._done, self._settled = set[int](), set[int]()
        for each in entries:
            self.apply(each)

    def apply(self, entry: Entry) -> None:
        """Take in one line."""
        if isinstance(entry, Added):
            self.added.append(entry.class_name)
            return
        of_image = self.answers.setdefault(entry.index, {})
        if entry.choice is None:
            of_image.pop(entry.annotator, None)
        else:
            of_image[entry.annotator] = Current(entry.choice, entry.seq)
        self._count(entry.index)

    def __contains__(self, index: int) -> bool:
        return index in self._places

    def current(self, annotator: str, index: int) -> Current | None:
        """Somebody's own answer about an image."""
        return self.answers.get(index, {}).get(annotator)

    def votes_of(self, index: int) -> int:
        """Answers about an image that are no skips."""
        return sum(each.choice != SKIP for each in self.answers.get(index, {}).values())

    @property
    def done(self) -> int:
        """Images that have the votes that they need."""
        return len(self._done)

    @property
    def settled(self) -> bool:
        """Whether nothing is left but what somebody skipped."""
        return len(self._settled) == len(self.indices)

    def claim(
        self, annotator: str, after: int | None, count: int, skip: Collection[int]
    ) -> list[int]:
        """The next images for somebody, and keep them for them.

        They are in the split's order behind `after`, and from its beginning then: those that are
        not done and that they did not answer about. What others look at comes only when nothing
        else is left.

        Args:
            after: an image of the task; None = begin with the first.
            count: how many at most.
            skip: images that they have at hand already; what of it was kept for them stays so.
        """
        self._forget()
        kept, held = self._leases.get(annotator), self._held_by_others(annotator)
        skipped, free, taken = set(skip), list[int](), list[int]()
        for index in self._open(annotator, after):
            if index not in skipped:
                (taken if index in held else free).append(index)
                if len(free) == count:
                    break
        found = free or taken[:count]
        at_hand = skipped.intersection(kept.indices) - held if kept is not None else set[int]()
        self._leases[annotator] = _Lease({*found, *at_hand}, self._clock() + LEASE)
        return found

    def renew(self, annotator: str, answered: int) -> None:
        """Somebody is still there, and done with one image.

        What was kept for them is kept on, unless others took it in the meantime.
        """
        if (lease := self._leases.get(annotator)) is not None:
            left = set(lease.indices) - {answered} - self._held_by_others(annotator)
            self._leases[annotator] = _Lease(left, self._clock() + LEASE)

    def holders(self, annotator: str | None) -> Mapping[int, str]:
        """Image -> somebody else who looks at it just now."""
        return {
            index: name
            for name, lease in self._leases.items()
            if name != annotator and lease.until > self._clock()
            for index in lease.indices
        }

    def _forget(self) -> None:
        """Drop the leases of people who have long been away: names come and go."""
        now = self._clock()
        for name in [name for name, lease in self._leases.items() if lease.until + GONE < now]:
            del self._leases[name]

    def _count(self, index: int) -> None:
        if index not in self._places:
            return
        done = self.votes_of(index) >= self.votes
        skipped = any(each.choice == SKIP for each in self.answers[index].values())
        (self._done.add if done else self._done.discard)(index)
        (self._settled.add if done or skipped else self._settled.discard)(index)

    def _open(self, annotator: str, after: int | None) -> Iterator[int]:
        """Images to answer for somebody, in the order of `claim`."""
        start = 0 if after is None else self._places[after] + 1
        for place in (*range(start, len(self.indices)), *range(start)):
            index = self.indices[place]
            if index not in self._done and annotator not in self.answers.get(index, {}):
                yield index

    def _held_by_others(self, annotator: str) -> set[int]:
        return set(self.holders(annotator))
