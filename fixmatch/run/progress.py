"""The live line of a run, on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class LiveLine:
    """Steps done, it/s, ETA, mask rate and EMA accuracy."""

    def __init__(self, progress: Progress, steps: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task("train", total=steps, completed=done, status="")

    def update(self, step: int, rate: float, mask_rate: float | None, ema: float | None) -> None:
        """Show `step` steps done at `rate` it/s; None values are left out."""
        parts = [f"{rate:.1f} it/s"]
        if mask_rate is not None:
            parts.append(f"mask {mask_rate:.0%}")
        if ema is not None:
            parts.append(f"EMA accuracy {ema:.2%}")
        self._progress.update(self._task, completed=step, status=" · ".join(parts))


@contextmanager
def live_line(steps: int, done: int, enabled: bool) -> Iterator[LiveLine]:
    """A `LiveLine` for a run of `steps` steps of which `done` are done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[status]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not enabled) as progress:
        yield LiveLine(progress, steps, done)
