"""`read_pile`: people's answers from wherever they lie, each once, about images of one loop."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fmsel.datasets import ImageDataset
from fmsel.datasets.images.dataset import UNKNOWN
from fmsel.labeling import Answer, Answers, apply_answers, read_answers
from fmsel.labeling.read import READERS, check_suffix
from fmsel.selection.split import Split


@dataclass(frozen=True, kw_only=True)
class Pile:
    """Answers about images that some round asked for.

    Attributes:
        answers: all of them; source and record name the files.
        of: global index of an image -> what was answered about it.
        foreign: places of the answers that were left out, as no round asked for their images.
    """

    answers: Answers
    of: dict[int, list[Answer]]
    foreign: Sequence[str]

    @property
    def note(self) -> str | None:
        """The sentence on the answers that were left out; None where there are none."""
        count = len(self.foreign)
        if not count:
            return None
        answers, what = ("answer", "an image") if count == 1 else ("answers", "images")
        return (
            f"ignored {count:,} {answers} about {what} that no round asked for, the first in "
            f"{self.foreign[0]}; they may belong to another loop"
        )


def read_pile(
    path: Path, tables: Sequence[Path], data: ImageDataset, asked: Sequence[Split]
) -> Pile:
    """The answers of a file, or of the files in a folder, and of others that lie elsewhere.

    Equal answers of one annotator count once, so that files may repeat earlier ones.

    Args:
        path: a file of answers, or a folder of them; it need not be there.
        tables: others where answers may lie, such as those that the loop wrote, and journals.
        data: the images.
        asked: one split or more that people were asked to label.
    Returns:
        What is about images of `asked`. Other answers in a folder are left out.
    Raises:
        ArtefactError: other answers in a file named directly; or as `read_answers` and
            `apply_answers`, for all that is not left out.
        OptionError: a file of another format.
    """
    indices = dict.fromkeys(index for each in asked for index in each.indices)
    places = {str(name): index for index, name in enumerate(data.ids)}
    own = answer_files(path)
    found: dict[object, tuple[int | None, Answer]] = {}
    record, foreign, source = {}, [], str(path)
    for file in _once([*own, *tables]):
        read = read_answers(file)
        if len(read):
            record[file.name] = read.record["sha256"]
            source = source if file in own else "people's answers"
        for answer in read.answers:
            where = f"{file.name if file in own else file}, {answer.where}"
            if not is_file(path) and _is_foreign(answer, data, places, indices):
                foreign.append(where)
                continue
            image = _image(answer, data, places)
            said = (answer.choice.strip(), answer.annotator, answer.time)
            name = image if image is not None else (answer.index, answer.id, answer.dataset)
            placed = replace(answer, where=answer.where if file == path else where)
            found.setdefault((name, said), (image, placed))
    answers = Answers(
        source=source, record={"files": record}, answers=[each for _, each in found.values()]
    )
    _check(answers, data, asked[0], list(indices))
    of: dict[int, list[Answer]] = {}
    for image, answer in found.values():
        assert image is not None  # else it was refused
        of.setdefault(image, []).append(answer)
    return Pile(answers=answers, of=of, foreign=foreign)


def is_file(path: Path) -> bool:
    """Whether a path is meant as one file of answers, and not as a folder of them."""
    return path.is_file() or (not path.is_dir() and path.suffix != "")


def answer_files(path: Path) -> list[Path]:
    """The files of answers that are there: the one named, or those of a folder.

    Raises:
        OptionError: a file of another format.
    """
    if is_file(path):
        check_suffix(path)
        return [path] if path.exists() else []
    return sorted(
        each for each in path.glob("*") if each.suffix in READERS and not each.name.startswith(".")
    )


def _once(files: Sequence[Path]) -> list[Path]:
    """Those that exist, each once however it is written."""
    there: dict[Path, Path] = {}
    for each in files:
        if each.exists():
            there.setdefault(each.resolve(), each)
    return list(there.values())


def _image(answer: Answer, data: ImageDataset, places: Mapping[str, int]) -> int | None:
    """The image that an answer names without contradiction."""
    named = places.get(answer.id or "") if answer.id is not None else answer.index
    agrees = answer.index in (None, named) and answer.dataset in (None, data.name)
    return named if agrees else None


def _is_foreign(
    answer: Answer, data: ImageDataset, places: Mapping[str, int], asked: Container[int]
) -> bool:
    """Whether neither its index nor its id is that of an image that was asked for."""
    if answer.dataset not in (None, data.name):
        return True
    return answer.index not in asked and places.get(answer.id or "") not in asked


def _check(answers: Answers, data: ImageDataset, like: Split, indices: Sequence[int]) -> None:
    """Refuse answers about other images, or that mean nothing, as `apply_answers` does."""
    if len(answers):
        labels = [UNKNOWN] * len(indices)
        everything = replace(like, indices=indices, labels=labels, label_use="none")
        apply_answers(everything, data, answers)
