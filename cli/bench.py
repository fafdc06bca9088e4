"""`fmsel bench`."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Measure speed.")


@app.callback()
def bench() -> None:
    """Measure speed."""


@app.command()
def train(
    preset: Annotated[str, typer.Option(help="Recipe to start from.")] = "paper",
    arch: Annotated[str | None, typer.Option(help="Network.")] = None,
    batch: Annotated[int | None, typer.Option(help="Labelled images a step.")] = None,
    mu: Annotated[int | None, typer.Option(help="Unlabelled images a labelled one.")] = None,
    augment: Annotated[str | None, typer.Option(help="Strong augmentation.")] = None,
    rule: Annotated[str | None, typer.Option(help="Pseudo-label rule.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Measured steps. (default: 200 on a GPU, else 3)")
    ] = None,
    mode: Annotated[str, typer.Option(help="auto, eager, graph, compile or fused.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, …")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON too.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing --out.")] = False,
) -> None:
    """Time the steps of training, part by part.

    On random images of CIFAR-10's size.
    """
    from fmsel.artefacts import check_output, write_json
    from fmsel.experiments.bench import SIDE, bench_train
    from fmsel.fixmatch.presets import configure
    from fmsel.report.bench import print_bench
    from fmsel.training.engine.device import resolve_device

    if out:
        check_output(out, force)
    given = {"arch": arch, "batch": batch, "mu": mu, "augment": augment, "rule": rule}
    config = configure(preset, SIDE, device, given)
    count = steps or (200 if resolve_device(device).type == "cuda" else 3)
    figures: dict[str, Any] = bench_train(
        config, steps=count, device=device, precision=precision, execution=mode, say=_say
    )
    print_bench(figures)
    if out:
        write_json(out, figures, force)
        print(f"wrote {out}")


def _say(line: str) -> None:
    typer.echo(line, err=True)
