"""`fmsel compare`."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, folders that hold runs, or patterns.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the table and the plot.")] = Path("compare"),
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier comparison in --out.")
    ] = False,
) -> None:
    """Compare runs: accuracy of each kind of split, gain over random, accuracy curves.

    Runs that differ in nothing but their seeds are replicates of one experiment. All runs must
    share the data set, the number of labels and the training configuration.
    """
    from fmsel.artefacts import check_output
    from fmsel.experiments.compare import compare_runs
    from fmsel.report.comparison import print_comparison, write_comparison

    check_output(out, force)
    comparison = compare_runs(runs)
    write_comparison(comparison, out, force)
    print_comparison(comparison)
    typer.echo(f"Wrote compare.md, compare.json and curves.png into {out}.")
