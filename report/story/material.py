"""`Material`: everything that the sections read, loaded once."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from fmsel.datasets import ImageDataset, Source, load_dataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.errors import ArtefactError, FmselError
from fmsel.experiments.compare import Comparison, comparison_of
from fmsel.experiments.compare_groups import STRATIFIED, FinishedRun, comparable_parts, load_run
from fmsel.experiments.loop.reread import LoopRecord, reread_loop
from fmsel.fixmatch.run.record import SPLIT, SUMMARY, read_run_config
from fmsel.metrics.scores import Scores
from fmsel.report.story.find import Found
from fmsel.report.story.looks import Look, looks
from fmsel.report.table import conditions
from fmsel.selection.split import Split
from fmsel.selection.split.inputs import EMBEDDINGS_FOLDER, only_embeddings


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run folder, finished or not."""

    path: Path
    config: Mapping[str, Any]
    split: Split
    finished: FinishedRun | None  # None: unfinished, or without accuracy
    why: str = ""  # there is no accuracy


class Part(NamedTuple):
    """Runs that can be compared with one another."""

    title: str  # what they share, numbered where there are several parts
    comparison: Comparison
    reason: str  # they cannot be with the first part's; "" of the first


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """One choice of images, however many runs learned from it.

    Attributes:
        key: its short name on the page, such as "s1".
        base: the way of choosing, as tables call it, such as "random".
        name: that, with what tells it from others on the page, such as "random, seed 1".
        split: the choice.
        path: a file that holds it.
        used_by: the runs that learned from it.
        of_loop: whether a loop made it.
    """

    key: str
    base: str
    name: str
    split: Split
    path: Path
    used_by: tuple[str, ...]
    of_loop: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What is shown.

    Attributes:
        runs: all of them.
        loops: by their folders.
        split_files: splits that were named themselves.
        scores: by their files.
        data_root: where the images lie now; None = where the artefacts say.
        embeddings_file: the one to draw a map of; None = what is found.
        say: told what takes long.
    """

    runs: tuple[Run, ...]
    loops: tuple[LoopRecord, ...]
    split_files: Mapping[Path, Split]
    scores: Mapping[Path, Scores]
    data_root: Path | None
    embeddings_file: Path | None
    say: Callable[[str], None]

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The finished runs, compared where they can be."""
        finished = [each.finished for each in self.runs if each.finished is not None]
        parts = [(comparison_of(each.runs), each.reason) for each in comparable_parts(finished)]
        return tuple(
            Part(f"{number}. " * (len(parts) > 1) + conditions(comparison), comparison, reason)
            for number, (comparison, reason) in enumerate(parts, 1)
        )

    @cached_property
    def chosen(self) -> tuple[Chosen, ...]:
        """Every choice once: those of runs, of split files, and of the loops' last rounds."""
        return tuple(_choices(self))

    @cached_property
    def looks(self) -> Mapping[str, Look]:
        """How each way of choosing is drawn, by its name in tables."""
        return looks(each.base for each in self.chosen)

    @cached_property
    def images(self) -> Mapping[str, ImageDataset | str]:
        """images_sha256 -> the train part, or the sentence on why it is not at hand."""
        sources = {
            each.split.images_sha256: (each.split.dataset, each.split.source)
            for each in self.chosen
        } | {
            each.dataset["images_sha256"]: (each.dataset["dataset"], each.dataset["source"])
            for each in self.scores.values()
        }
        return {
            sha256: _images(sha256, name, source, self.data_root)
            for sha256, (name, source) in sources.items()
        }

    def data(self, images_sha256: str) -> ImageDataset | None:
        """The train part, where it is at hand."""
        found = self.images[images_sha256]
        return None if isinstance(found, str) else found

    @property
    def absent(self) -> list[str]:
        """Why images are not at hand, a sentence each data set."""
        return [each for each in self.images.values() if isinstance(each, str)]

    @cached_property
    def vectors(self) -> Mapping[str, tuple[Path, Embeddings] | str]:
        """images_sha256 -> embeddings of the images that something was chosen from, with their
        file, or the sentence on why there are none."""
        wanted = dict.fromkeys(each.split.images_sha256 for each in self.chosen)
        return {key: self.embeddings(data) for key in wanted if (data := self.data(key))}

    def embeddings(self, data: ImageDataset) -> tuple[Path, Embeddings] | str:
        """Embeddings of these images with their file, or the sentence on why there are none."""
        path = self.embeddings_file
        try:
            if path is None:
                path = _recorded(self.chosen, data) or only_embeddings(data)
            found = Embeddings.load(path)
            found.check(data, str(path))
        except ArtefactError as error:
            return str(error)
        return path, found


def load_material(
    found: Found,
    *,
    data_root: Path | None = None,
    embeddings: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Material:
    """Read all artefacts; images and vectors are read once a section asks for them.

    Raises:
        ArtefactError: a broken file; an `embeddings` that is none.
    """
    if embeddings is not None:
        Embeddings.load(embeddings)
    return Material(
        runs=tuple(map(_run, found.runs)),
        loops=tuple(map(reread_loop, found.loops)),
        split_files={path: Split.load(path) for path in found.splits},
        scores={path: Scores.load(path) for path in found.scores},
        data_root=data_root,
        embeddings_file=embeddings,
        say=say,
    )


def _run(path: Path) -> Run:
    config, split = read_run_config(path), Split.load(path / SPLIT)
    if not (path / SUMMARY).exists():
        why = f"{path} is not finished; go on with `fmsel train --resume`"
        return Run(path=path, config=config, split=split, finished=None, why=why)
    try:
        finished = load_run(path)
    except ArtefactError as error:
        return Run(path=path, config=config, split=split, finished=None, why=str(error))
    return Run(path=path, config=config, split=split, finished=finished)


class _Origin(NamedTuple):
    """Where a choice was met."""

    base: str
    split: Split
    path: Path
    run: str = ""  # that learned from it
    of_loop: bool = False

    @property
    def place(self) -> str:
        """The name of its run folder, or of its file."""
        return self.path.parent.name if self.run else self.path.stem


def _choices(material: Material) -> Iterable[Chosen]:
    """Replicates side by side; a choice that several artefacts hold is told of the first."""
    met: dict[str, list[_Origin]] = {}
    for each in _origins(material):
        met.setdefault(each.split.sha256, []).append(each)
    firsts = [origins[0] for origins in met.values()]
    order = {key: place for place, key in reversed([*enumerate(map(_kind, firsts))])}
    firsts.sort(key=lambda each: order[_kind(each)])
    kinds, sizes = Counter(map(_kind, firsts)), {len(each.split) for each in firsts}
    drawn = Counter((_kind(each), each.split.seed) for each in firsts)
    for number, first in enumerate(firsts, 1):
        told = [first.base]
        told += [f"{len(first.split)} labels"] if len(sizes) > 1 else []
        if drawn[_kind(first), first.split.seed] > 1:
            told.append(first.place)
        elif kinds[_kind(first)] > 1:
            told.append(f"seed {first.split.seed}")
        yield Chosen(
            key=f"s{number}",
            base=first.base,
            name=", ".join(told),
            split=first.split,
            path=first.path,
            used_by=tuple(each.run for each in met[first.split.sha256] if each.run),
            of_loop=first.of_loop,
        )


def _kind(origin: _Origin) -> tuple[str, int]:
    """What a choice shares with its replicates."""
    return origin.base, len(origin.split)


def _origins(material: Material) -> Iterator[_Origin]:
    """Every choice wherever it is met, in the order of the tables."""
    names = {
        each.record.path: row.group.name
        for part in material.parts
        for row in part.comparison.rows
        for each in row.group.runs
    }
    runs = {each.path: each for each in material.runs}
    for path in dict.fromkeys([*names, *runs]):
        split = runs[path].split
        name = STRATIFIED if split.strategy == "random_stratified" else split.strategy
        yield _Origin(names.get(path, name), split, path / SPLIT, run=str(path))
    for path, split in material.split_files.items():
        yield _Origin(path.stem, split, path)
    for loop in material.loops:
        for name in loop.plan.strategies if loop.done else ():
            last = loop.plan.track(name, 0)[loop.done - 1]
            path = loop.folder.round(last) / SPLIT
            yield _Origin(f"{name} (loop)", loop.folder.split(last), path, of_loop=True)


def _images(
    sha256: str, name: str, source: Mapping[str, Any], root: Path | None
) -> ImageDataset | str:
    try:
        data = load_dataset(Source.from_dict(source), data_root=root, offline=True)
    except FmselError as error:
        return f"The images of {name} are not at hand ({error}); say where with --data-root."
    if data.images_sha256 != sha256:
        return (
            f"The images of {name} have changed (their sha256 differ); say where the right ones "
            "lie with --data-root."
        )
    return data


def _recorded(chosen: Sequence[Chosen], data: ImageDataset) -> Path | None:
    """The file of embeddings that a choice was made from, where it still lies in embeddings/."""
    for each in chosen:
        record = each.split.provenance.get("embeddings")
        if each.split.images_sha256 == data.images_sha256 and isinstance(record, Mapping):
            path = EMBEDDINGS_FOLDER / str(record.get("file"))
            if path.exists():
                return path
    return None
