"""Which artefacts a path stands for: run folders, splits, scores, loops, or folders of them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from fmsel.artefacts import read_json
from fmsel.errors import ArtefactError
from fmsel.experiments.loop.folder import LOOP
from fmsel.fixmatch.run.record import CONFIG

Kind = Literal["run", "loop", "split", "scores"]
HOW = (
    "make runs with `fmsel train`, splits with `fmsel split`, scores with `fmsel score`, loops "
    "with `fmsel loop`"
)


class Found(NamedTuple):
    """The paths of every artefact, each once, in the order in which they were named."""

    runs: tuple[Path, ...]
    loops: tuple[Path, ...]
    splits: tuple[Path, ...]
    scores: tuple[Path, ...]


def find_artefacts(paths: Iterable[Path]) -> Found:
    """Sort paths by what they are; a folder of artefacts stands for those that lie in it.

    Raises:
        ArtefactError: a path that is missing, or leads to nothing that can be shown.
    """
    found: dict[Path, tuple[Kind, Path]] = {}
    for path in paths:
        try:
            there = _at(path)
        except OSError as error:
            raise ArtefactError(f"{path} cannot be read ({error.strerror or error})") from error
        for kind, each in there:
            found.setdefault(each.resolve(), (kind, each))

    def of(wanted: Kind) -> tuple[Path, ...]:
        return tuple(path for kind, path in found.values() if kind == wanted)

    return Found(runs=of("run"), loops=of("loop"), splits=of("split"), scores=of("scores"))


def _at(path: Path) -> list[tuple[Kind, Path]]:
    if not path.exists():
        raise ArtefactError(f"there is no {path}; {HOW}")
    if kind := _kind(path):
        return [(kind, path)]
    inside = [(kind, each) for each in _children(path) if (kind := _kind(each))]
    if not inside:
        raise ArtefactError(
            f"{path} is no run folder, split, scores file or loop, and holds none; {HOW}"
        )
    return inside


def _children(path: Path) -> Iterator[Path]:
    yield from sorted(path.iterdir()) if path.is_dir() else ()


def _kind(path: Path) -> Kind | None:
    if path.is_dir():
        if (path / LOOP).exists():
            return "loop"
        return "run" if (path / CONFIG).exists() else None
    if path.suffix == ".npz":
        return "scores"
    return "split" if path.suffix == ".json" and _is_split(path) else None


def _is_split(path: Path) -> bool:
    try:
        return {"indices", "strategy"} <= read_json(path, "split").keys()
    except ArtefactError:
        return False
