"""`Answers`: what people said of images, in the one form that every source is read into."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError, DataError

NO_CLASS = ("none of these", "unsure")  # what people may choose in place of a class
SKIP = "skip"
SHOWN = 10  # mistakes, or names of classes, in one sentence
INDEX = re.compile(r"([0-9]{1,18})(\.0{1,18})?")  # a spreadsheet may write 31 as 31.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One person's answer about one image.

    Attributes:
        where: its place in the source, such as "line 3", for errors.
        index: of the image in the data set; None = `id` tells.
        id: the image's id in the data set; None = `index` tells. Where both are there, they must
            be of one image.
        choice: the name of a class; or one of `NO_CLASS` or "skip"; empty = skipped, in a source
            that tells a skip from an image that nobody answered about. Upper or lower case is one,
            unless two classes differ in nothing else.
        annotator: who answered; empty = unknown.
        time: when, with a time zone; None = unknown.
        dataset: name of the data set that the source says it is about; None = it does not say.
    """

    where: str
    index: int | None
    id: str | None
    choice: str
    annotator: str = ""
    time: datetime | None = None
    dataset: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All answers of one source, in its order.

    Attributes:
        source: how errors call it, such as the file's path.
        record: how a split's provenance describes it, JSON-able.
        answers: what people said; the same person's later answer replaces the earlier one.
    """

    source: str
    record: Mapping[str, Any]
    answers: Sequence[Answer]

    def __len__(self) -> int:
        return len(self.answers)


def check_classes(data: ImageDataset) -> None:
    """DataError where a data set has no classes."""
    if not data.class_names:
        raise DataError(
            f"{data.name} has no classes that people could choose from; name them in a file "
            "classes.txt beside the images, a line a class, or by folders, PATH/<class>/*, with "
            "some images in each"
        )


def check_mistakes(source: str, mistakes: Sequence[str], mend: str = "") -> None:
    """ArtefactError that tells all mistakes of a source, or the first `SHOWN`, in one sentence.

    Args:
        source: as errors call it.
        mistakes: each begins with its place.
        mend: how to mend them, behind the last.
    """
    if len(mistakes) == 1:
        raise ArtefactError(f"{source}, {mistakes[0]}{mend}")
    if mistakes:
        more = len(mistakes) > SHOWN
        count = f"more than {SHOWN} mistakes, first" if more else f"{len(mistakes)} mistakes"
        raise ArtefactError(f"{source} holds {count}: {'; '.join(mistakes[:SHOWN])}{mend}")


def listed(names: Sequence[str]) -> str:
    """The first `SHOWN` names, for a sentence."""
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def parse_index(value: object, where: str) -> int:
    """The number of an image, from a text or a number; ArtefactError, begun by `where`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (found := INDEX.fullmatch(value)):
        return int(found[1])
    raise ArtefactError(f"{where}: index {value!r} is not an integer of 0 or more")


def parse_time(text: str, where: str) -> datetime:
    """A time of ISO 8601, UTC where it names no zone; ArtefactError, begun by `where`."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ArtefactError(
            f"{where}: time {text!r} is not of ISO 8601, such as 2024-05-31T14:00:00Z"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
