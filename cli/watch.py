"""`fmsel watch`."""

from pathlib import Path
from typing import Annotated

import typer


def watch(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, a loop's folder, or a folder that holds runs, whose runs at work "
            "are shown. One that is not there yet is waited for.",
        ),
    ],
    once: Annotated[
        bool, typer.Option("--once", help="Print the state and end, without waiting.")
    ] = False,
) -> None:
    """Follow runs in the terminal: curves, rate, time left, warnings.

    Only reads files, so it may start, end and start again at any time, on any machine that sees
    them. It ends when the run, or all rounds of a loop, are finished, or with Ctrl-C, which stops
    no training; a folder of runs is followed until then. In a pipe or a file it prints a line for
    each evaluation.
    """
    from contextlib import suppress

    from rich.console import Console

    from fmsel.report.watch import show
    from fmsel.report.watch import watch as follow

    console = Console(highlight=False, markup=False)
    with suppress(KeyboardInterrupt):
        (show if once else follow)(runs, console=console)
