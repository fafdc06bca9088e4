"""Images to label as a CSV table for a spreadsheet, and the filled table as answers.

Columns: index (in the data set), id (original index, or path in the folder), image (the file to
look at), label (a class name, for people to fill in) and annotator (who did). Spreadsheets may have
written their names with capitals.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from fmsel.artefacts import atomic_path
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError
from fmsel.labeling.answers import SHOWN, Answer, check_mistakes, parse_index, parse_time
from fmsel.labeling.pictures import check_pictures, check_target, pictures, write_pictures
from fmsel.selection.split import Split

COLUMNS = ("index", "id", "image", "label", "annotator")
TIME = "time"  # a column that may be added: which of an annotator's answers is the latest
SEPARATORS = ",;\t"  # spreadsheets of some languages write the second
FORMULA = "=+-@\t\r"  # a spreadsheet may run a cell that begins with one of these
QUOTE = "'"


def export_csv(
    split: Split,
    data: ImageDataset,
    to: Path,
    *,
    everything: bool = False,
    force: bool = False,
) -> list[Path]:
    """Write a row for every image that waits for a label; returns what was written.

    Images that are no files of the data set are written into the folder `<to>-images` too.

    Args:
        everything: also images that have a label, which the table does not tell.
        force: replace existing files.
    Raises:
        ArtefactError, DataError, OptionError: as `pictures`.
        OutputError: an output exists and `force` is false, or cannot be written; whatever `force`
            is, `to` holds labels.
    """
    found = pictures(split, data, to, everything)
    check_target(to, force, count_labels)
    check_pictures(found, force)
    shown = found.names if found.folder is not None else [str(file) for file in found.files]
    rows = [
        [str(index), neutral(name), neutral(image), "", ""]
        for index, name, image in zip(found.indices, found.ids, shown, strict=True)
    ]
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *rows])
    # Excel takes a file for UTF-8 only if it begins with a mark, which some other readers dislike.
    encoding = "utf-8" if text.getvalue().isascii() else "utf-8-sig"
    with atomic_path(to, force) as temporary:
        temporary.write_bytes(text.getvalue().encode(encoding))
        write_pictures(found, data)
    return [to] if found.folder is None else [to, to.with_name(found.folder.name)]


def neutral(text: str) -> str:
    """A text that no spreadsheet takes for a formula; `restored` undoes it."""
    return QUOTE + text if text.startswith((*FORMULA, QUOTE)) else text


def restored(text: str) -> str:
    """What `neutral` was given; a text that it did not change stays as it is."""
    return text[1:] if text.startswith(tuple(QUOTE + each for each in FORMULA + QUOTE)) else text


def count_labels(content: bytes) -> int:
    """How many labels a table holds, however damaged it is; 0 where it is no such table."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = content.decode(encoding, errors="replace")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text))
    count = 0
    with suppress(csv.Error):
        header = _header(next(reader, []))
        place = header.index("label") if "label" in header else len(header)
        for row in reader:
            count += any(cell.strip() for cell in row[place : place + 1])
    return count


def read_csv(text: str, file: str) -> list[Answer]:
    """The rows that somebody filled in; one with an empty label is not answered yet.

    Needs a header with `label` and with `index` or `id`. Other columns are not read.

    Args:
        text: of the file.
        file: its name, for errors.
    Raises:
        ArtefactError: no such table; it tells all rows that cannot be read, or the first `SHOWN`.
    """
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    answers, mistakes = list[Answer](), list[str]()
    try:
        header = _header(next(reader, []))
        _check_header(header, file)
        for row in reader:
            try:
                answers += _answers(row, header, separator, f"line {reader.line_num}")
            except ArtefactError as error:
                mistakes.append(str(error))
                if len(mistakes) > SHOWN:
                    break
    except csv.Error as error:
        mistakes.append(f"line {reader.line_num}: not a CSV table ({error})")
    check_mistakes(file, mistakes)
    return answers


def _separator(text: str) -> str:
    """The one under which the first line has a column `label`, or a comma."""
    first = text.partition("\n")[0]
    found = (each for each in SEPARATORS if "label" in _names(first, each))
    return next(found, SEPARATORS[0])


def _names(line: str, separator: str) -> list[str]:
    return _header([name.strip().strip('"') for name in line.split(separator)])


def _header(names: Sequence[str]) -> list[str]:
    """Column names; ours as we write them, whatever their case, unless that one is there too."""
    header = [name.strip() for name in names]
    folded = {name: name.casefold() for name in header if name.casefold() in (*COLUMNS, TIME)}
    return [name if folded.get(name, name) in header else folded[name] for name in header]


def _check_header(header: Sequence[str], file: str) -> None:
    if "label" not in header or not {"index", "id"} & set(header):
        raise ArtefactError(
            f"{file} must begin with a line of column names, among them label and index or id; it "
            f"begins with {', '.join(header)[:80] or 'an empty line'}"
        )
    for name in (*COLUMNS, TIME):
        if header.count(name) > 1:
            raise ArtefactError(f"{file} has {header.count(name)} columns {name}; keep one")


def _answers(row: Sequence[str], header: Sequence[str], separator: str, where: str) -> list[Answer]:
    """The answer of a row, or none; ArtefactError, begun by `where`."""
    if len(row) > len(header) and any(row[len(header) :]):
        raise ArtefactError(
            f"{where}: {len(row)} fields under {len(header)} column names; put texts that hold "
            f"{separator!r} in double quotes"
        )
    cells = dict(zip(header, row, strict=False))
    return [_answer(cells, where)] if cells.get("label", "").strip() else []


def _answer(cells: Mapping[str, str], where: str) -> Answer:
    index, name = cells.get("index", "").strip(), restored(cells.get("id", ""))
    if not index and not name:
        raise ArtefactError(f"{where}: neither an index nor an id names the image")
    return Answer(
        where=where,
        index=parse_index(index, where) if index else None,
        id=name or None,
        choice=restored(cells.get("label", "")),
        annotator=restored(cells.get("annotator", "").strip()),
        time=_time(cells.get(TIME, "").strip(), where),
    )


def _time(text: str, where: str) -> datetime | None:
    return parse_time(text, where) if text else None
