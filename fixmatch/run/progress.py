"""A live line for each run under way, on stderr."""

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


class LiveLines:
    """The live lines of all runs under way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def add(self, steps: int, done: int) -> LiveLine:
        """A line for a run of `steps` steps of which `done` are done."""
        self._progress.start()
        return LiveLine(self._progress, steps, done)


@contextmanager
def live_lines(enabled: bool) -> Iterator[LiveLines]:
    """Live lines while the context lasts; none where not `enabled`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[status]}"),
    )
    progress = Progress(*columns, console=Console(stderr=True), disable=not enabled)
    try:
        yield LiveLines(progress)
    finally:
        if progress.tasks:  # stopping prints an empty line even where nothing was shown
            progress.stop()
