"""Images to label as a CSV table for a spreadsheet, and the filled table as answers.

Columns: index (in the data set), id (original index, or path in the folder), image (the file to
look at), label (a class name, for people to fill in) and annotator (who did).
"""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from fmsel.artefacts import atomic_path, check_output
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError
from fmsel.labeling.answers import Answer, parse_index, parse_time
from fmsel.labeling.pictures import check_pictures, pictures, write_pictures
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
        OutputError: an output exists and `force` is false, or cannot be written.
    """
    found = pictures(split, data, to, everything)
    check_output(to, force)
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


def read_csv(text: str, file: str) -> list[Answer]:
    """The rows that somebody filled in.

    Needs a header with `label` and with `index` or `id`; an empty label of a named annotator is a
    skip. Other columns are not read.

    Args:
        text: of the file.
        file: its name, for errors.
    Raises:
        ArtefactError: no such table.
    """
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    answers = []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, file)
        for row in reader:
            where = f"line {reader.line_num}"
            if len(row) > len(header) and any(row[len(header) :]):
                raise ArtefactError(
                    f"{file}, {where}: {len(row)} fields under {len(header)} column names; put "
                    f"texts that hold {separator!r} in double quotes"
                )
            cells = dict(zip(header, row, strict=False))
            if cells.get("label", "").strip() or cells.get("annotator", "").strip():
                answers.append(_answer(cells, where, file))
    except csv.Error as error:
        raise ArtefactError(f"{file}, line {reader.line_num}: not a CSV table ({error})") from error
    return answers


def _separator(text: str) -> str:
    """The one under which the first line has a column `label`, or a comma."""
    first = text.partition("\n")[0]
    found = (each for each in SEPARATORS if "label" in _names(first, each))
    return next(found, SEPARATORS[0])


def _names(line: str, separator: str) -> list[str]:
    return [name.strip().strip('"') for name in line.split(separator)]


def _check_header(header: Sequence[str], file: str) -> None:
    if "label" not in header or not {"index", "id"} & set(header):
        raise ArtefactError(
            f"{file} must begin with a line of column names, among them label and index or id; it "
            f"begins with {', '.join(header)[:80] or 'an empty line'}"
        )
    for name in (*COLUMNS, TIME):
        if header.count(name) > 1:
            raise ArtefactError(f"{file} has {header.count(name)} columns {name}; keep one")


def _answer(cells: Mapping[str, str], where: str, file: str) -> Answer:
    index, name = cells.get("index", "").strip(), restored(cells.get("id", ""))
    if not index and not name:
        raise ArtefactError(f"{file}, {where}: neither an index nor an id names the image")
    return Answer(
        where=where,
        index=parse_index(index, f"{file}, {where}") if index else None,
        id=name or None,
        choice=restored(cells.get("label", "")),
        annotator=restored(cells.get("annotator", "").strip()),
        time=_time(cells.get(TIME, "").strip(), f"{file}, {where}"),
    )


def _time(text: str, where: str) -> datetime | None:
    return parse_time(text, where) if text else None
