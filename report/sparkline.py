"""A curve as a line of characters."""

from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇"  # not the full block, at which lines would touch each other
ASCII = "_.-=+*#"  # where the terminal has no block characters


def sparkline(values: Sequence[float | None], width: int, ramp: str = BLOCKS) -> str:
    """At most `width` characters, the lowest and the highest value at the ends of `ramp`.

    Where there are more values, each character is the mean of its share of them; where there are
    fewer, each value is one character. A space stands for what is unknown, the middle of the ramp
    for a curve that is flat.

    Args:
        values: in order; None = unknown.
        width: 1 or more.
        ramp: characters from low to high, 2 or more.
    """
    points = _binned(values, width)
    known = [point for point in points if point is not None]
    if not known:
        return " " * len(points)
    low, spread = min(known), max(known) - min(known)
    top = len(ramp) - 1

    def bar(point: float | None) -> str:
        if point is None:
            return " "
        return ramp[round((point - low) / spread * top) if spread > 0 else top // 2]

    return "".join(map(bar, points))


def _binned(values: Sequence[float | None], width: int) -> list[float | None]:
    """Means of `width` shares, whose sizes differ by one at most."""
    if len(values) <= width:
        return list(values)
    edges = [len(values) * place // width for place in range(width + 1)]
    return [_mean(values[start:end]) for start, end in pairwise(edges)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
