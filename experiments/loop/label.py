"""People's labels for the rounds that wait: what is asked, and what the answers settle."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fmsel.datasets import ImageDataset
from fmsel.datasets.images.dataset import UNKNOWN
from fmsel.errors import ArtefactError
from fmsel.experiments.loop.choose import check_two_classes
from fmsel.experiments.loop.folder import TABLE, TASKS, LoopFolder
from fmsel.experiments.loop.plan import Round
from fmsel.experiments.loop.setup import Setup
from fmsel.labeling import (
    Answer,
    Answers,
    apply_answers,
    export_csv,
    export_label_studio,
    read_answers,
)
from fmsel.labeling.read import READERS, check_suffix
from fmsel.selection.split import Split


@dataclass(frozen=True)
class Waiting:
    """A loop that cannot go on before people answer.

    Attributes:
        images: how many have no answer yet.
        tables: the files that name them, one a round; tasks of Label Studio lie beside each.
        answers: where the answers are looked for.
    """

    images: int
    tables: tuple[Path, ...]
    answers: Path

    def __str__(self) -> str:
        tables = str(self.tables[0])
        if more := len(self.tables) - 1:
            tables += f" and {more} more named {TABLE} in the folders of other rounds"
        place = f"as {self.answers}" if _is_file(self.answers) else f"into {self.answers}/"
        return (
            f"waiting for the labels of {self.images} images: fill in {tables} (or label the tasks "
            f"in {TASKS} beside it with Label Studio), put the answers {place}, and give the same "
            "command to go on"
        )


def settle(setup: Setup, folder: LoopFolder, rounds: Iterable[Round]) -> Waiting | None:
    """Take the answers that are there; write out what waits for one.

    A round is settled once every image that it asked for was answered. Images whose answers give
    no class (skipped, unsure, or a tie) stay unlabelled. An answer about an image serves all
    tracks.

    Args:
        rounds: those at the stage of labelling.
    Returns:
        What is awaited; None when all of them are settled.
    Raises:
        ArtefactError: answers about images that nobody asked for, of no class, or that contradict
            each other; a round whose labels are of one class.
        OptionError, OutputError: a file of another format, or an output that cannot be written.
    """
    assert setup.answers is not None  # else no round awaits labels
    answers = read_pile(setup.answers)
    asked_ever = [found for each in setup.plan.every if (found := folder.asked(each)) is not None]
    check_asked(asked_ever, setup.data, answers)
    by_image = dict(_by_image(answers, setup.data))
    waiting, tables = set[int](), list[Path]()
    for each in rounds:
        asked = folder.asked(each)
        assert asked is not None  # by its stage
        labels = dict(zip(asked.indices, asked.labels or (), strict=True))
        new = [index for index in asked.indices if labels[index] == UNKNOWN]
        left = [index for index in new if index not in by_image]
        if left:
            waiting.update(left)
            tables.append(_export(asked, setup.data, folder.round(each), left))
            continue
        own = [answer for index in new for answer in by_image[index]]
        folder.keep(each, _settled(asked, setup.data, replace(answers, answers=own), each))
    return Waiting(len(waiting), tuple(tables), setup.answers) if waiting else None


def read_pile(path: Path) -> Answers:
    """All answers of a file, or of the .csv and .json files in a folder; none where it is missing.

    Equal answers of unnamed annotators count once, so that files may repeat earlier ones.

    Raises:
        ArtefactError, OptionError: as `read_answers`.
    """
    if _is_file(path):
        check_suffix(path)
        files = [path] if path.exists() else []
    else:
        files = sorted(
            each
            for each in path.glob("*")
            if each.suffix in READERS and not each.name.startswith(".")
        )
    found: dict[object, Answer] = {}
    record = {}
    for file in files:
        read = read_answers(file)
        record[file.name] = read.record["sha256"]
        for number, answer in enumerate(read.answers):
            where = answer.where if file == path else f"{file.name}, {answer.where}"
            same = (answer.index, answer.id, answer.choice, answer.dataset)
            key = (file, number) if answer.annotator or answer.time else same
            found.setdefault(key, replace(answer, where=where))
    return Answers(source=str(path), record={"files": record}, answers=list(found.values()))


def _is_file(path: Path) -> bool:
    """Whether a path is meant as one file of answers, and not as a folder of them."""
    return path.is_file() or (not path.is_dir() and path.suffix != "")


def check_asked(asked: Sequence[Split], data: ImageDataset, answers: Answers) -> None:
    """Refuse answers that none of these splits asked for, or that mean nothing.

    Raises:
        ArtefactError: as `apply_answers`.
    """
    indices = list(dict.fromkeys(index for each in asked for index in each.indices))
    if len(answers):
        labels = [UNKNOWN] * len(indices)
        everything = replace(asked[0], indices=indices, labels=labels, label_use="none")
        apply_answers(everything, data, answers)


def _by_image(answers: Answers, data: ImageDataset) -> Iterator[tuple[int, list[Answer]]]:
    """(global index, all its answers), of answers that were checked."""
    places = {str(name): index for index, name in enumerate(data.ids)}
    found: dict[int, list[Answer]] = {}
    for answer in answers.answers:
        index = answer.index if answer.index is not None else places[answer.id or ""]
        found.setdefault(index, []).append(answer)
    yield from found.items()


def _settled(asked: Split, data: ImageDataset, answers: Answers, each: Round) -> Split:
    """The images of a round that have a label now, with it."""
    answered = apply_answers(asked, data, answers)
    labels = answered.given_labels(data)
    kept = np.flatnonzero(labels != UNKNOWN)
    if not len(kept):
        raise ArtefactError(
            f"none of the {len(asked)} images of {each} got a label; answer about some of them in "
            f"{answers.source}"
        )
    split = replace(
        answered,
        indices=answered.index_array[kept].tolist(),
        labels=labels[kept].tolist(),
    )
    check_two_classes(split, data, each)
    return split


def _export(asked: Split, data: ImageDataset, to: Path, left: list[int]) -> Path:
    """Write the images of a round that wait, as a table and as tasks, over none that are there.

    People may have begun to fill them in.
    """
    waiting = replace(
        asked, indices=left, labels=[UNKNOWN] * len(left), class_counts={}, label_use="none"
    )
    if not (to / TASKS).exists():
        export_label_studio(waiting, data, to / TASKS, force=True)
    if not (to / TABLE).exists():
        export_csv(waiting, data, to / TABLE, force=True)
    return to / TABLE
