"""Where everything came from: commands to make it again, versions, devices and hashes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fmsel.artefacts import read_json
from fmsel.embeddings.vectors import Embeddings
from fmsel.errors import ArtefactError
from fmsel.experiments.loop.reread import LoopRecord
from fmsel.fixmatch.run.record import CONFIG
from fmsel.metrics.scores import Scores
from fmsel.report.story.again import SPLITS_FOLDER, Again, loop_again, run_again, split_again
from fmsel.report.story.again_inputs import embeddings_again, scores_again
from fmsel.report.story.material import Chosen, Material
from fmsel.report.story.plot import slug
from fmsel.report.story.section import Block, Commands, Section, Tables
from fmsel.report.table import Table

DEFAULT_SIDE = 32  # pixels of a loop's images, where no run of it tells


def origins(material: Material) -> Section:
    """Commands and records of all that was named."""
    return Section(
        name="origins",
        title="How this was made",
        lead="The commands that make everything again, and the versions, devices and hashes that "
        "tell whether it is the same.",
        blocks=[*_commands(material), *_records(material)],
    )


def _commands(material: Material) -> Iterator[Block]:
    paths = split_paths(material)
    groups = {
        "Scores": [scores_again(each, str(path)) for path, each in material.scores.items()],
        "Embeddings": [embeddings_again(each, str(path)) for path, each in _embeddings(material)],
        "Splits": [split_again(each.split, paths[each.key]) for each in _own(material)],
        "Runs": [
            run_again(run.config, paths[_key(material, run.split.sha256)], str(run.path))
            for run in material.runs
        ],
        "Loops": [
            loop_again(each.record, _side(each), str(each.folder.path)) for each in material.loops
        ],
    }
    for title, made in groups.items():
        if made:
            yield _shown(title, made)


def _shown(title: str, made: list[Again]) -> Commands:
    needs = dict.fromkeys(need for each in made for need in each.needs)
    return Commands(title=title, lines=[each.line for each in made if each.line], needs=[*needs])


def _embeddings(material: Material) -> list[tuple[Path, Embeddings]]:
    """Those that a map was drawn of."""
    return [each for each in material.vectors.values() if not isinstance(each, str)]


def _own(material: Material) -> list[Chosen]:
    """The choices that no loop made."""
    return [each for each in material.chosen if not each.of_loop]


def split_paths(material: Material) -> dict[str, str]:
    """Key of a choice -> the file that its command writes, and that the runs' commands read."""
    named = {split.sha256: path for path, split in material.split_files.items()}
    return {
        each.key: str(named.get(each.split.sha256, SPLITS_FOLDER / f"{slug(each.name)}.json"))
        for each in material.chosen
    }


def _key(material: Material, sha256: str) -> str:
    return next(each.key for each in material.chosen if each.split.sha256 == sha256)


def _side(loop: LoopRecord) -> int:
    """Pixels of a loop's images, which its runs record."""
    for each in loop.plan.every:
        try:
            config = read_json(loop.folder.run(each) / CONFIG, "run configuration")
        except ArtefactError:
            continue
        return int(config["dataset"]["image_side"])
    return DEFAULT_SIDE


def _records(material: Material) -> Iterator[Block]:
    made = (_runs, _choices, _scores, _vectors, _versions)
    yield Tables(
        tables=[table for each in made if (table := each(material)).rows],
        summary="Versions, devices and hashes",
    )


def _runs(material: Material) -> Table:
    return Table(
        title="Runs",
        headings=("run", "device", "precision, mode", "training seed", "seconds"),
        rows=[
            [
                str(run.path),
                str(run.config.get("device", "unknown")),
                f"{run.config.get('precision')}, {run.config.get('execution')}",
                str(run.config.get("seed")),
                f"{run.finished.record.summary['seconds']:,.0f}" if run.finished else "unfinished",
            ]
            for run in material.runs
        ],
    )


def _choices(material: Material) -> Table:
    return Table(
        title="Choices",
        headings=("choice", "strategy", "seed", "sha256", "sha256 of the images"),
        rows=[
            [
                each.name,
                each.split.strategy,
                str(each.split.seed),
                each.split.sha256,
                each.split.images_sha256,
            ]
            for each in material.chosen
        ],
    )


def _scores(material: Material) -> Table:
    return Table(
        title="Scores",
        headings=("metric", "label use", "seed", "device", "sha256"),
        rows=[
            [f"{name}, {path}", record.label_use, str(record.seed), record.device, record.sha256]
            for path, scores in material.scores.items()
            for name, record in scores.records.items()
        ],
    )


def _vectors(material: Material) -> Table:
    return Table(
        title="Embeddings",
        headings=("embeddings", "encoder", "uses labels", "seed", "sha256"),
        rows=[
            [str(path), each.encoder, str(each.uses_labels).lower(), str(each.seed), each.sha256]
            for path, each in _embeddings(material)
        ],
    )


def _versions(material: Material) -> Table:
    """A row for each set of versions, with all that was made by it."""
    made: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, versions in _made_with(material):
        made.setdefault(tuple(sorted(versions.items())), []).append(name)
    return Table(
        title="Versions",
        headings=("made", "with"),
        rows=[
            [", ".join(names), ", ".join(f"{package} {number}" for package, number in versions)]
            for versions, names in made.items()
        ],
    )


def _of_scores(path: Path, scores: Scores) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The file's name, with its metrics where they were made with different versions."""
    made: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for metric, record in scores.records.items():
        made.setdefault(tuple(sorted(record.made_with.items())), []).append(metric)
    for versions, metrics in made.items():
        some = f" ({', '.join(metrics)})" if len(made) > 1 else ""
        if versions:  # older files do not tell them by metric
            yield f"scores {path}{some}", dict(versions)


def _made_with(material: Material) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for run in material.runs:
        yield f"run {run.path}", run.config.get("versions", {})
    for choice in material.chosen:
        yield f"choice {choice.name}", choice.split.versions
    for path, each in _embeddings(material):
        yield f"embeddings {path}", each.made_with
    for path, scores in material.scores.items():
        yield from _of_scores(path, scores)
    for loop in material.loops:
        yield f"loop {loop.folder.path}", loop.record.get("versions", {})
