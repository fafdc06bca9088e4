"""`fmsel predict`."""

from pathlib import Path
from typing import Annotated

import typer


def predict(
    run: Annotated[Path, typer.Argument(help="The run folder, such as runs/mixed-seed0.")],
    path: Annotated[
        Path | None,
        typer.Argument(
            help="A folder of new images; those in its subfolders too. (default: the images of "
            "the run's data set that have no label)",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV file. (default: predictions/RUN.csv)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    data_root: Annotated[
        Path | None, typer.Option(help="Where the data set's images lie now, if they were moved.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
) -> None:
    """Label images with a run's network.

    Writes a CSV of classes and probabilities. The averaged weights of the run's last checkpoint
    label images that have no label.
    """
    from fmsel.artefacts import check_output
    from fmsel.fixmatch.use import load_trained
    from fmsel.fixmatch.use.predict import (
        folder_images,
        predict,
        unlabelled_images,
        write_predictions,
    )
    from fmsel.training.engine.device import resolve_device, resolve_precision

    target = out or Path("predictions") / f"{run.resolve().name}.csv"
    check_output(target, force)
    where = resolve_device(device)
    chosen = resolve_precision(precision, where)
    trained = load_trained(run, where, data_root=data_root, offline=offline)
    if path is None:
        images = unlabelled_images(run, data_root=data_root, offline=offline)
    else:
        images = folder_images(path, trained.image_side)
    probabilities = predict(trained, images.pixels, chosen)
    write_predictions(target, images.ids, trained.class_names, probabilities, force)
    print(f"labelled {len(images.ids):,} images with {run} ({trained.progress})")
    print(f"wrote {target}")
