"""A comparison on the terminal and on disk: tables, record and curves."""

from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from fmsel.artefacts import write_json, write_text
from fmsel.experiments.compare import Comparison
from fmsel.report.curves import curves_figure
from fmsel.report.figure import write_figure
from fmsel.report.table import Table, added_table, markdown, notes, results_table

RECORD = "compare.json"


def write_comparison(comparison: Comparison, out: Path, force: bool = False) -> None:
    """Write `compare.json`, `compare.md` and `curves.png` into the folder `out`.

    Raises:
        OutputError: one of the three exists and `force` is false, or `out` cannot be written to.
    """
    figure = curves_figure(comparison)
    write_figure(figure, out / "curves.png", force)
    write_text(out / "compare.md", markdown(comparison) + "\n![curves](curves.png)\n", force)
    write_json(out / RECORD, comparison.as_dict(), force)


def print_comparison(comparison: Comparison) -> None:
    """Print the tables and the notes that are needed to read them."""
    console = Console(highlight=False, markup=False)
    for table in (results_table(comparison), added_table(comparison)):
        if table:
            console.print(table.title, style="bold", soft_wrap=True)
            console.print(rich_table(table))
    for note in notes(comparison):
        console.print(note, style="dim")


def rich_table(table: Table) -> RichTable:
    """A table for the terminal; all columns but the first are flush right."""
    made = RichTable(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for position, heading in enumerate(table.headings):
        made.add_column(heading, justify="right" if position else "left")
    for row in table.rows:
        made.add_row(*row)
    return made
