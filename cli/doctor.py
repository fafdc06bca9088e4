"""`fmsel doctor`."""

from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Say what fmsel has to work with here, and what is wrong.

    Devices, versions of all packages, extras, folders and free space, data sets, settings. Exit
    code 0 where all that is needed works, 1 where it does not.
    """
    from rich.console import Console

    from fmsel.artefacts import dumps
    from fmsel.report.doctor import examine
    from fmsel.report.doctor_text import print_checkup

    checkup = examine()
    if as_json:
        print(dumps(checkup.as_dict()))
    else:
        print_checkup(checkup, Console(highlight=False, markup=False))
    if not checkup.works:
        raise typer.Exit(1)
