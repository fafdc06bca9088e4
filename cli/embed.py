"""`fmsel embed`: every image as a vector."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fmsel.errors import OptionError


def embed(
    dataset: Annotated[str, typer.Argument(help="A data set's name, or an image folder.")],
    encoder: Annotated[
        str | None,
        typer.Option(help="patches, gabor, simclr, timm:NAME, or run:RUN. (default: patches)"),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With timm:NAME: its weights. (default: downloads them)"),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", help="With simclr: epochs of training. (default: by device)"),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Your own vectors instead: .npy, .npz, .parquet, or a folder of part-*.npy.",
        ),
    ] = None,
    ids: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="With --from: a file of ids, or the name of the ids in it. (default: ids or id)",
        ),
    ] = None,
    uses_labels: Annotated[
        bool,
        typer.Option("--uses-labels", help="With --from: its encoder learned from these labels."),
    ] = False,
    pca: Annotated[
        int | None, typer.Option(metavar="D", help="Keep the first D principal components.")
    ] = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Scale every vector to length 1.")
    ] = False,
    data_root: Annotated[Path | None, typer.Option(help="Where the data set lies.")] = None,
    resize: Annotated[int | None, typer.Option(help="Resize images to this side, pixels.")] = None,
    eval_fraction: Annotated[
        float, typer.Option(help="Share held out as test where a folder has no test part.")
    ] = 0.1,
    offline: Annotated[bool, typer.Option("--offline", help="Never download.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="A .npy file. (default: embeddings/<dataset>-<encoder or FILE>.npy)"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Turn every training image into a vector, or take your own vectors.

    Your own are checked first. Writes a .npy file (float32, a row an image) and a JSON of the same
    name that says what it is. A folder of float32 part-*.npy is not copied: the JSON refers to its
    files.
    """
    if source and encoder:
        raise OptionError("--encoder computes vectors and --from reads them; give one of the two")
    if (weights or epochs is not None) and (source or (encoder or "").startswith("run:")):
        raise OptionError("--weights is for the encoder timm:NAME, and --epochs for simclr")
    if not source and (ids or uses_labels):
        raise OptionError("--ids and --uses-labels are about a file of your own; give it as --from")
    if source and source.is_dir() and ids:
        raise OptionError(
            "--ids goes with one file; the rows of a folder must be in the data set's order"
        )
    from fmsel.datasets import load_dataset
    from fmsel.embeddings.vectors.artefact import check_embeddings_output
    from fmsel.embeddings.vectors.folder import import_folder
    from fmsel.embeddings.vectors.imported import import_embeddings
    from fmsel.embeddings.vectors.make import embed_dataset
    from fmsel.embeddings.vectors.reduce import Reduction
    from fmsel.embeddings.vectors.shards import ShardedRows
    from fmsel.fixmatch.use.embed import run_embeddings

    # Names of files may hold brackets, which rich would read as markup.
    err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    data = load_dataset(
        dataset, data_root=data_root, resize=resize, eval_fraction=eval_fraction, offline=offline
    )
    run = Path(encoder[4:]) if encoder and encoder.startswith("run:") else None
    folder = source if source and source.is_dir() else run
    title = folder.resolve().name if folder else source.stem if source else encoder or "patches"
    title = f"run-{title}" if run else title
    name = title.replace(":", "-").replace("/", "-")  # of a file
    path = out or Path("embeddings") / f"{data.name}-{name}.npy"
    check_embeddings_output(path, force)
    reduction = Reduction(pca=pca, normalise=normalise)
    if source and source.is_dir():
        made = import_folder(
            data, source, reduction, uses_labels=uses_labels, seed=seed, say=err.print
        )
    elif source:
        made = import_embeddings(
            data, source, ids, reduction, uses_labels=uses_labels, seed=seed, say=err.print
        )
    elif run:
        made = run_embeddings(run, data, reduction, seed=seed, device=device)
    else:
        made = embed_dataset(
            data,
            title,
            reduction,
            weights=weights,
            epochs=epochs,
            seed=seed,
            device=device,
            offline=offline,
            say=err.print,
        )
    made.save(path, force)
    count, width = made.features.shape
    beside, size = path.with_suffix(".json"), f"{count:,} x {width:,} float32"
    if isinstance(made.features, ShardedRows):
        print(f"wrote {beside} ({size} in {len(made.features.paths)} shards of {source})")
    else:
        print(f"wrote {path} ({size}) and {beside.name}")
