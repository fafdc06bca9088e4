"""`fmsel compare`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fmsel.errors import OutputError


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, folders that hold runs, or patterns.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the table and the plot.")] = Path("compare"),
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier comparison in --out.")
    ] = False,
) -> None:
    """Compare runs: accuracy of each kind of split, gain over random.

    Prints a table, and writes it with the accuracy curves into a folder.

    Runs that differ in nothing but their seeds are replicates of one experiment. All runs must
    share the data set, the number of labels and the training configuration. Runs that are not
    finished, or have no accuracy, are left out.
    """
    from fmsel.artefacts import check_output
    from fmsel.experiments.compare import compare_runs
    from fmsel.report.comparison import RECORD, print_comparison, write_comparison

    if (out / RECORD).exists() and not force:
        words = ["fmsel", "compare", *map(str, runs), "--out", str(out), "--force"]
        raise OutputError(
            f"{out} holds a comparison already; replace it with `{shlex.join(words)}`, or choose "
            "another --out"
        )
    check_output(out, force)
    comparison = compare_runs(runs)
    write_comparison(comparison, out, force)
    print_comparison(comparison)
    typer.echo(f"Wrote compare.md, compare.json and curves.png into {out}.")
