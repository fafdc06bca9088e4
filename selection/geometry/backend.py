"""`Backend`: where a pass over all rows runs, block by block; `Local` is this process."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

Rows = TypeVar("Rows")
Result = TypeVar("Result")


class Backend(Protocol):
    """Runs one function on many blocks of rows.

    Blocks are the caller's, so that every backend does the same arithmetic.
    """

    def map(
        self, function: Callable[[Rows, slice], Result], rows: Rows, parts: Iterable[slice]
    ) -> Iterator[Result]:
        """The results of `function(rows, part)` for every part, in order.

        Args:
            function: picklable, and without state that it changes.
            rows: picklable; what the same object is given for again is sent to workers once.
            parts: slices of `rows`.
        """


@dataclass(frozen=True)
class Local:
    """One block after the other, in this process."""

    def map(
        self, function: Callable[[Rows, slice], Result], rows: Rows, parts: Iterable[slice]
    ) -> Iterator[Result]:
        """As in `Backend`; a block is computed when its result is asked for."""
        return (function(rows, part) for part in parts)
