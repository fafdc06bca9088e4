"""Rows about images as a CSV or JSON file."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from fmsel.artefacts import check_output, dumps, write_text
from fmsel.errors import OptionError

Cell = str | int | float


def check_rows_output(path: Path, force: bool) -> None:
    """Refuse now what `write_rows` could not write; OptionError, OutputError."""
    if path.suffix not in (".csv", ".json"):
        raise OptionError(f"{path} will be a table; give it a name that ends in .csv or .json")
    check_output(path, force)


def write_rows(
    path: Path, headings: Sequence[str], rows: Sequence[Sequence[Cell]], force: bool = False
) -> None:
    """Write a table by the ending of its name: CSV with a header, or a JSON list of objects."""
    check_rows_output(path, force)
    if path.suffix == ".json":
        lines = (dumps(dict(zip(headings, row, strict=True)), "  ") for row in rows)
        write_text(path, "[\n  " + ",\n  ".join(lines) + "\n]\n" if rows else "[]\n", force)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(rows)
    write_text(path, text.getvalue(), force)
