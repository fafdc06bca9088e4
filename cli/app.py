"""The command `fmsel`: its subcommands, and the one place where errors become sentences."""

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

import fmsel
from fmsel.cli.help import epilog, help_text
from fmsel.cli.parameters import improve_parameters
from fmsel.errors import DeviceError, FmselError, Interrupted

INTERRUPTED = 130
BAD_INPUT = 2
STOPPED = "stopped: nothing unfinished was written; give the same command to go on"
SPINS = "1000"  # libgomp's own number is 300,000

# The panels of `fmsel --help`, and their commands in the order of the work.
PANELS = {
    "Choose": "score embed split",
    "Label": "label labels",
    "Train": "train loop watch predict export",
    "Look": "compare gallery report plot scores",
    "The rest": "demo doctor bench",
}


class InOrderOfWork(TyperGroup):
    """Lists the commands as `PANELS` does, whichever of them have commands of their own."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for names in PANELS.values() for name in names.split()]


app = typer.Typer(
    cls=InOrderOfWork,
    no_args_is_help=True,
    epilog=epilog(""),
    pretty_exceptions_enable=False,
    help="Choose which few images to label, then train FixMatch on them.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fmsel {fmsel.__version__}")
        raise typer.Exit


@app.callback()
def fmsel_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_print_version, is_eager=True, help="Print it."
        ),
    ] = False,
) -> None:
    """Choose which few images to label, then train FixMatch on them."""


def _register() -> None:
    for panel, names in PANELS.items():
        for name in names.split():
            module = import_module(f"fmsel.cli.{name}")
            command: Callable[..., Any] = getattr(module, name)
            improve_parameters(name, command)
            told: dict[str, Any] = {"help": help_text(command), "epilog": epilog(name)}
            if hasattr(module, "app"):
                app.add_typer(module.app, name=name, rich_help_panel=panel, **told)
                _improve_commands(name, module.app)
            else:
                app.command(name, rich_help_panel=panel, **told)(command)


def _improve_commands(group: str, below: typer.Typer) -> None:
    for each in below.registered_commands:
        if each.callback is not None:
            name = f"{group} {each.name or each.callback.__name__}"
            improve_parameters(name, each.callback)
            each.help, each.epilog = help_text(each.callback), epilog(name)


def _follows() -> bool:
    """Whether torchrun started this process beside the one that speaks for all."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ["RANK"] != "0"


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False, quiet=_follows())
    console.print(f"note: {message}", style="yellow")


def main(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for bad input, 130 when interrupted.

    Args:
        args: the words after `fmsel`; None reads `sys.argv`.
    """
    follows = _follows()
    err = Console(stderr=True, soft_wrap=True, markup=False, highlight=False, quiet=follows)
    with warnings.catch_warnings(), redirect_stdout(None if follows else sys.stdout):
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        try:
            app(args=args, standalone_mode=True)
        except SystemExit as stop:
            if stop.code == INTERRUPTED:  # what typer makes of Ctrl-C
                err.print(STOPPED)
            return stop.code if isinstance(stop.code, int) else 1
        except Interrupted as stop:
            err.print(f"stopped: {stop}")
            return INTERRUPTED
        except FmselError as error:
            err.quiet = follows and not isinstance(error, DeviceError)  # every device is its own
            err.print(f"error: {error}", style="red")
            return BAD_INPUT
    return 0


def command() -> None:
    """Entry point of the console script."""
    _share_the_cores()
    code = main()
    if "TORCHELASTIC_RUN_ID" in os.environ and "torch" in sys.modules:
        from fmsel.training.engine.distributed import leave

        leave(code)
    sys.exit(code)


def _share_the_cores() -> None:
    """Let threads that wait sleep soon: beside other work they hold up what they wait for.

    GNU's OpenMP, which torch brings, reads it when it is loaded. Settings of the user's stay.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


_register()
