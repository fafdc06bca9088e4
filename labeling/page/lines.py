"""The lines of a journal of answers: JSON objects, one a line, of which none is ever changed.

The first says which split is labelled; each other one is what somebody said of an image, withdrew,
or a class that somebody added. `seq` counts them from 1.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, cast

from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError
from fmsel.labeling.answers import Answer, parse_time
from fmsel.selection.split import Split

SCHEMA = 1
MARK = b'{"fmsel_answers": '  # what a journal begins with
NAME_LENGTH = 80  # characters of an annotator or of a class


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a journal is about.

    Attributes:
        dataset: `ImageDataset.describe()`, by the name that the split has for it.
        split: name of the split's file.
        split_sha256: `Split.sha256`.
        class_names: at the beginning.
        created: when, ISO 8601.
    """

    dataset: Mapping[str, Any]
    split: str
    split_sha256: str
    class_names: Sequence[str]
    created: str

    @classmethod
    def of(cls, split: Split, file: str, data: ImageDataset) -> "Header":
        return cls(
            dataset={**data.describe(), "dataset": split.dataset},
            split=file,
            split_sha256=split.sha256,
            class_names=list(data.class_names),
            created=now(),
        )

    def about_same(self, other: "Header") -> bool:
        """Whether both are about one split of the same images."""
        images = [each.dataset["images_sha256"] for each in (self, other)]
        return images[0] == images[1] and self.split_sha256 == other.split_sha256

    def line(self) -> bytes:
        return _dumped({"fmsel_answers": SCHEMA, **self.__dict__})

    @property
    def id(self) -> str:
        """Tells this journal from all others."""
        return sha256(self.line()).hexdigest()

    def __str__(self) -> str:
        return f"{self.split} of {self.dataset['dataset']} (sha256 {self.split_sha256[:8]}…)"


@dataclass(frozen=True, kw_only=True)
class Said:
    """What somebody answered about an image; the last line of one person about one image counts.

    Attributes:
        seq: number of the line.
        time: when, ISO 8601.
        annotator: who.
        index: of the image in the data set.
        id: the image's id in the data set.
        choice: name of a class, or "skip", "unsure", "none of these"; None = withdrawn.
        key: by which the sender knows the answer again; None = it gave none.
    """

    seq: int
    time: str
    annotator: str
    index: int
    id: str
    choice: str | None
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Added:
    """A class that somebody added."""

    seq: int
    time: str
    annotator: str
    class_name: str


Entry = Said | Added


@dataclass(frozen=True, kw_only=True)
class Lines:
    """A journal as it lies on disk.

    Attributes:
        header: None where not even that was written wholly.
        entries: in order.
        size: bytes of the whole lines; what comes behind was cut off by the end of a process.
        ended: whether the last whole line ends as it should.
    """

    header: Header | None
    entries: list[Entry]
    size: int
    ended: bool


def read_lines(content: bytes, file: str) -> Lines:
    """The lines of a journal, without the rest of one that was not written to its end.

    Args:
        content: of the file.
        file: its name, for errors.
    Raises:
        ArtefactError: no journal, one of another version, or a line that is broken.
    """
    *whole, tail = content.split(b"\n")
    if not whole and MARK.startswith(tail[: len(MARK)]) and _object(tail) is None:
        return Lines(header=None, entries=[], size=0, ended=True)
    header = _header(whole[0] if whole else tail, file)
    entries = [
        _entry(line, seq, f"{file}, line {seq + 1}") for seq, line in enumerate(whole[1:], 1)
    ]
    size, ended = len(content) - len(tail), True
    if whole and tail:
        try:  # an editor may have taken away the end of the last line and nothing else
            entries.append(_entry(tail, len(whole), file))
        except ArtefactError:
            pass
        else:
            size, ended = len(content), False
    elif tail:
        size, ended = len(content), False
    return Lines(header=header, entries=entries, size=size, ended=ended)


def read_journal(text: str, file: str) -> list[Answer]:
    """What counts of the answers in a journal, also while somebody writes to it.

    Args:
        text: of the file.
        file: its name, for errors.
    Raises:
        ArtefactError: as `read_lines`.
    """
    found = read_lines(text.encode(), file)
    if found.header is None:
        return []
    dataset = str(found.header.dataset["dataset"])
    return [replace(each, dataset=dataset) for each in answers(found.entries)]


def line(entry: Entry) -> bytes:
    """An entry as it is written: ASCII, so that a cut line is still text."""
    return _dumped(
        {name: value for name, value in entry.__dict__.items() if name != "key" or value}
    )


def answers(entries: Iterable[Entry]) -> list[Answer]:
    """What counts: the last answer of each person about each image, unless it was withdrawn."""
    last: dict[tuple[str, int], Said] = {}
    for each in entries:
        if isinstance(each, Said):
            last[each.annotator, each.index] = each
    return [
        Answer(
            where=f"line {each.seq + 1}",
            index=each.index,
            id=each.id,
            choice=each.choice,
            annotator=each.annotator,
            time=parse_time(each.time, ""),
        )
        for each in sorted(last.values(), key=lambda said: said.seq)
        if each.choice is not None
    ]


def now() -> str:
    """The time, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def clean_name(text: str) -> str | None:
    """A name as it is kept, or None where it cannot be one: 1 to 80 characters, one line."""
    name = unicodedata.normalize("NFC", text).strip()
    odd = {"Cc", "Cs", "Zl", "Zp"}  # controls, halves of characters, ends of lines
    if not 1 <= len(name) <= NAME_LENGTH or odd & set(map(unicodedata.category, name)):
        return None
    return name


def _dumped(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _header(content: bytes, file: str) -> Header:
    values = _object(content)
    if values is None or "fmsel_answers" not in values:
        raise ArtefactError(f"{file} is no journal of answers: its first line does not say so")
    if (version := values.pop("fmsel_answers")) != SCHEMA:
        raise ArtefactError(f"{file} has version {version!r}; this fmsel reads version {SCHEMA}")
    try:
        header = Header(**values)
        parse_time(header.created, "")
        if not all(isinstance(header.dataset[name], str) for name in ("dataset", "images_sha256")):
            raise TypeError("no data set")
    except (TypeError, KeyError, ArtefactError) as error:
        raise ArtefactError(f"{file}, line 1: not the header of a journal ({error})") from None
    return header


def _entry(content: bytes, seq: int, where: str) -> Entry:
    """One line; ArtefactError, begun by `where`."""
    values = _object(content)
    if values is None:
        raise ArtefactError(f"{where}: no JSON object; put the file back as it was written")
    try:
        entry: Entry = Added(**values) if "class_name" in values else Said(**values)
        _check(entry, seq)
        parse_time(entry.time, "time")
    except (TypeError, ValueError) as error:  # ArtefactError is a ValueError
        raise ArtefactError(f"{where}: not a line of a journal ({error})") from None
    return entry


def _check(entry: Entry, seq: int) -> None:
    if type(entry.seq) is not int or entry.seq != seq:
        raise ValueError(f"its number is {entry.seq!r} where {seq} comes next")
    texts = [entry.time, entry.annotator]
    if isinstance(entry, Added):
        texts.append(entry.class_name)
    else:
        texts += [entry.id, entry.choice or "", entry.key or ""]
        if type(entry.index) is not int or entry.index < 0:
            raise ValueError(f"index {entry.index!r}")
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a value that is no text")


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return cast(dict[str, Any], values) if isinstance(values, dict) else None
