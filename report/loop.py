"""A finished loop on the terminal and on disk: table, figures and learning curves."""

import csv
import io
from pathlib import Path

from rich.console import Console

from fmsel.artefacts import write_json, write_text
from fmsel.experiments.loop.results import LoopResults
from fmsel.report.comparison import rich_table
from fmsel.report.figure import write_figure
from fmsel.report.loop_curve import loop_figure
from fmsel.report.loop_table import curve_table, loop_notes, rivals_table

COLUMNS = ("strategy", "start", "label_use", "seed", "round", "budget", "labels", "accuracy")


def write_loop(results: LoopResults, out: Path) -> list[Path]:
    """Write `loop.csv`, `results.json` and `curve.png` into `out`, over those of an earlier call.

    There is no picture where nothing was evaluated.

    Returns:
        What was written.
    Raises:
        OutputError: `out` cannot be written to.
    """
    written = [out / "loop.csv", out / "results.json"]
    write_text(written[0], _csv(results), force=True)
    write_json(written[1], results.as_dict(), force=True)
    if results.evaluated:
        written.append(out / "curve.png")
        write_figure(loop_figure(results), written[-1], force=True)
    return written


def print_loop(results: LoopResults) -> None:
    """Print the tables and the notes that are needed to read them."""
    console = Console(highlight=False, markup=False)
    for table in (curve_table(results), rivals_table(results)):
        if table:
            console.print(table.title, style="bold", soft_wrap=True)
            console.print(rich_table(table))
    for note in loop_notes(results):
        console.print(note, style="dim")


def _csv(results: LoopResults) -> str:
    """A line for every round of every track; accuracy in 0..1, empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in results.rows:
        for track in row.tracks:
            curve = zip(results.budgets, track.labels, track.accuracies, strict=True)
            for number, (budget, labels, accuracy) in enumerate(curve):
                start = row.start if row.start and not number else ""
                facts = (row.strategy, start, row.label_use, track.seed)
                writer.writerow([*facts, number, budget, labels, accuracy])
    return text.getvalue()
