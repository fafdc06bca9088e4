"""`fmsel demo`."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.")] = Path("demo"),
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier demo.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Do the main job on the built-in digits, in minutes.

    Scores, splits, trains, compares and draws one picture, on two cores.
    """
    from fmsel.artefacts import check_output
    from fmsel.errors import Interrupted
    from fmsel.experiments.demo import REPLICATES, run_demo
    from fmsel.report.comparison import print_comparison, write_comparison
    from fmsel.report.demo import finding, write_demo_figure

    check_output(out, force)
    try:
        done = run_demo(out, device=device, say=lambda line: typer.echo(line, err=True))
    except (Interrupted, KeyboardInterrupt) as stop:
        raise Interrupted(
            "the demo cannot be resumed; start over with the same command and --force "
            "(the networks finished for scoring are kept)"
        ) from stop
    write_comparison(done.comparison, out / "compare", force=True)
    write_demo_figure(done, out / "demo.png", force=True)
    print_comparison(done.comparison)
    typer.echo(f"{finding(done.comparison)} (n = {REPLICATES} runs a row)")
    typer.echo(f"The picture is {out / 'demo.png'}.")
