"""`Ledger`: the desk and its journal together, so that what is told as saved is on disk."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from fmsel.labeling.page.desk import Current, Desk
from fmsel.labeling.page.journal import Journal
from fmsel.labeling.page.lines import Added, Entry, Said, now


class ConflictError(Exception):
    """Somebody answered an image otherwise than the sender knows.

    Attributes:
        current: what counts; None = nothing.
    """

    def __init__(self, current: Current | None) -> None:
        super().__init__()
        self.current = current


@dataclass
class _Ticket:
    """A line on its way to disk."""

    entry: Entry
    settled: bool = False
    error: Exception | None = None


@dataclass(frozen=True)
class Saved:
    """What the sender of an answer is told."""

    seq: int
    done: int
    total: int


@dataclass
class Ledger:
    """All changes of one task, from any number of threads.

    A change is made at once in memory, so that the next one is judged by it, and told once it is
    on disk. Those that wait while the disk is busy are written together. Where the disk refuses,
    memory goes back to what it holds.

    Attributes:
        desk, journal: of the task; nobody else changes them.
        ids: image -> its id in the data set.
    """

    desk: Desk
    journal: Journal
    ids: Callable[[int], str]
    _memory: threading.Lock = field(default_factory=threading.Lock)
    _disk: threading.Lock = field(default_factory=threading.Lock)
    _waiting: list[_Ticket] = field(default_factory=list)
    _keys: dict[str, _Ticket] = field(default_factory=dict)
    _last: int = 0

    def __post_init__(self) -> None:
        self._begin()

    def answer(
        self,
        annotator: str,
        index: int,
        choice: str | None,
        *,
        replaces: int | None = None,
        key: str | None = None,
    ) -> Saved:
        """Save an answer, or take one back (None).

        Args:
            replaces: `seq` of the answer that the annotator knows of; None = of none.
            key: the same key saves once, however often it comes.
        Raises:
            ConflictError: another answer counts, or the key came with another answer.
            OutputError: the disk refused; nothing was changed.
        """
        with self._memory:
            ticket = self._keys.get(key) if key is not None else None
            if ticket is None:
                current = self.desk.current(annotator, index)
                if (current.seq if current else None) != replaces or (
                    current is None and choice is None
                ):
                    raise ConflictError(current)
                said = Said(
                    seq=self._last + 1,
                    time=now(),
                    annotator=annotator,
                    index=index,
                    id=self.ids(index),
                    choice=choice,
                    key=key,
                )
                ticket = self._take(said)
                self.desk.renew(annotator, index)
            elif not _same(ticket.entry, annotator, index, choice):
                raise ConflictError(self.desk.current(annotator, index))
        self._save(ticket)
        with self._memory:
            return Saved(ticket.entry.seq, self.desk.done, len(self.desk.indices))

    def add_class(self, annotator: str, name: str) -> None:
        """Save a class that somebody added; OutputError where the disk refused."""
        with self._memory:
            ticket = self._take(
                Added(seq=self._last + 1, time=now(), annotator=annotator, class_name=name)
            )
        self._save(ticket)

    def claim(
        self, annotator: str, after: int | None, count: int, skip: Collection[int]
    ) -> list[int]:
        """As `Desk.claim`."""
        with self._memory:
            return self.desk.claim(annotator, after, count, skip)

    def items(self, annotator: str | None) -> list[dict[str, Any]]:
        """Every image of the task: somebody's own answer, the votes, and who else looks at it."""
        with self._memory:
            held = self.desk.holders(annotator)
            return [
                {
                    "index": index,
                    "answer": _told(self.desk.current(annotator, index) if annotator else None),
                    "votes": self.desk.votes_of(index),
                    "held_by": held.get(index),
                }
                for index in self.desk.indices
            ]

    @property
    def done(self) -> int:
        with self._memory:
            return self.desk.done

    @property
    def settled(self) -> bool:
        with self._memory:
            return self.desk.settled

    def said_of(self, index: int) -> Sequence[str]:
        """What people answered about an image."""
        with self._memory:
            return [each.choice for each in self.desk.answers.get(index, {}).values()]

    def _take(self, entry: Entry) -> _Ticket:
        """Let a line count in memory, and wait for the disk."""
        ticket = _Ticket(entry)
        self.desk.apply(entry)
        self._last = entry.seq
        self._waiting.append(ticket)
        if isinstance(entry, Said) and entry.key is not None:
            self._keys[entry.key] = ticket
        return ticket

    def _save(self, ticket: _Ticket) -> None:
        """Wait until a line is on disk; whoever comes first writes for all that wait."""
        with self._disk:
            if not ticket.settled:
                self._write()
        if ticket.error is not None:
            raise ticket.error

    def _write(self) -> None:
        with self._memory:
            batch, self._waiting = self._waiting, []
        try:
            self.journal.append([each.entry for each in batch])
        except Exception as error:  # whatever it is, none of them may be told as saved
            with self._memory:  # those that came meanwhile were judged by what is lost
                batch, self._waiting = batch + self._waiting, []
                for each in batch:
                    each.error = error
                self._begin()
        for each in batch:
            each.settled = True

    def _begin(self) -> None:
        """Make memory what the disk holds."""
        entries = self.journal.entries
        self.desk.reset(entries)
        self._last = len(entries)
        self._keys = {
            each.key: _Ticket(each, settled=True)
            for each in entries
            if isinstance(each, Said) and each.key is not None
        }


def _told(current: Current | None) -> dict[str, Any] | None:
    return current._asdict() if current is not None else None


def _same(entry: Entry, annotator: str, index: int, choice: str | None) -> bool:
    return isinstance(entry, Said) and (entry.annotator, entry.index, entry.choice) == (
        annotator,
        index,
        choice,
    )
