"""`watch`: runs followed on a terminal, or in lines where there is none."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from fmsel.errors import ArtefactError
from fmsel.report.watch_place import Scene, WatchedPlace
from fmsel.report.watch_run import RunView
from fmsel.report.watch_view import Glyphs, full, note, sentence, short

LOOK_EVERY = 1.0  # seconds


def watch(paths: Sequence[Path], *, console: Console) -> None:
    """Follow runs until all of them are finished; nothing but their files is read.

    A terminal shows curves that change in place. Elsewhere each evaluation, each change of state
    and each warning is a line.

    Args:
        paths: run folders, loops' folders, or folders that hold runs; waited for where missing.
            One that holds runs and is no loop's is followed for ever.
        console: where to.
    """
    places = [WatchedPlace(path) for path in paths]
    if console.is_terminal and not console.is_dumb_terminal:
        _live(places, console)
    else:
        _lines(places, console)


def show(paths: Sequence[Path], *, console: Console) -> None:
    """Print the runs as they are now.

    Raises:
        ArtefactError: there is no run at a path.
    """
    scenes = [WatchedPlace(path).look() for path in paths]
    for path, scene in zip(paths, scenes, strict=True):
        if not scene.runs:
            raise ArtefactError(
                f"there is no run in {path} yet; check the path, or leave out --once to wait for it"
            )
    console.print(_picture(scenes, console, height=None))


def _live(places: Sequence[WatchedPlace], console: Console) -> None:
    with Live(console=console, auto_refresh=False) as live:
        while True:
            scenes = [place.look() for place in places]
            live.update(_picture(scenes, console, console.height - 1), refresh=True)
            if all(scene.done for scene in scenes):
                return
            time.sleep(LOOK_EVERY)


def _picture(scenes: Sequence[Scene], console: Console, height: int | None) -> Group:
    """All about every run, or two lines of each where that is higher than `height` lines."""
    glyphs = Glyphs.of(console)
    for describe in (full, short):
        lines: list[Text] = []
        for scene in scenes:
            if scene.heading:
                lines += Text(scene.heading, style="bold").wrap(console, console.width)
            for name, view in scene.runs:
                lines += describe(view, name, console.width, glyphs)
                lines += [Text()] if describe is full else []
        if height is None or len(lines) <= height:
            break
    return Group(*lines)


def _lines(places: Sequence[WatchedPlace], console: Console) -> None:
    told = Told(console)
    while True:
        scenes = [place.look() for place in places]
        for scene in scenes:
            told.tell(scene)
        if all(scene.done for scene in scenes):
            return
        time.sleep(LOOK_EVERY)


class Told:
    """Prints what was not printed yet.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._headings = set[str]()
        self._runs: dict[Path, tuple[str, int]] = {}  # state, step of the last evaluation
        self._notes = set[tuple[Path, float, str]]()

    def tell(self, scene: Scene) -> None:
        """A line for a new heading, evaluation, state or warning of the scene's runs."""
        if scene.heading and scene.heading not in self._headings:
            self._headings.add(scene.heading)
            self._say(scene.heading)
        for name, view in scene.runs:
            self._tell_run(name, view)

    def _tell_run(self, name: str, view: RunView) -> None:
        state = "running" if view.state == "evaluating" else view.state
        now = state, int(view.rows[-1]["step"]) if view.rows else 0
        if self._runs.get(view.path) != now:
            self._runs[view.path] = now
            self._say(sentence(view, name))
        for each in view.status.get("warnings", []):
            key = view.path, each["time"], each["text"]
            if key not in self._notes:
                self._notes.add(key)
                self._say(f"{name}: {note(each)}")

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)
        self._console.file.flush()
