"""`fmsel plot`."""

import math
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Draw the learning-rate schedules.")


@app.callback()
def plot() -> None:
    """Draw the learning-rate schedules."""


@app.command()
def schedules(
    steps: Annotated[int, typer.Option(min=1, help="Length of the run.")] = 2**20,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 0.03,
    out: Annotated[Path, typer.Option(help="The picture, a PNG.")] = Path("plots/schedules.png"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing picture.")] = False,
) -> None:
    """Draw the learning-rate schedules that training can follow."""
    from fmsel.artefacts import check_output
    from fmsel.errors import OptionError
    from fmsel.report.figure import write_figure
    from fmsel.report.schedules import schedules_figure

    if not 0 < lr < math.inf:
        raise OptionError(f"lr={lr} must be above 0 and finite")
    if out.suffix != ".png":
        raise OptionError(f"{out} will be a PNG picture; give it a name that ends in .png")
    check_output(out, force)
    write_figure(schedules_figure(steps, lr), out, force)
    print(f"wrote {out}")
