"""`fmsel export`."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="The run folder, such as runs/mixed-seed0.")],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="safetensors or onnx; repeat for both. (default: both, or only safetensors where "
            "the extra onnx is not installed)",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for RUN.safetensors and RUN.onnx.")] = Path(
        "exports"
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    data_root: Annotated[
        Path | None, typer.Option(help="Where the data set's images lie now, if they were moved.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
) -> None:
    """Write a run's averaged weights as safetensors and ONNX.

    For use without the run folder. Class names and normalisation are in the files. Each is compared
    with the run on random images before it is put into place.
    """
    from fmsel.fixmatch.use.export import export_run

    written = export_run(run, out, formats or (), force=force, data_root=data_root, offline=offline)
    for path, difference in written.items():
        print(f"wrote {path} (probabilities within {difference:.1g} of the run's)")
    if not formats and len(written) == 1:
        print("no ONNX file, which needs more packages; pip install 'fmsel[onnx]'")
