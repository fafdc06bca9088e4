"""`fmsel gallery`."""

from pathlib import Path
from typing import Annotated

import typer


def gallery(
    scores: Annotated[Path, typer.Argument(help="A scores file, such as scores/cifar10.npz.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Rank by this; several are shown side by side. "
            "(default: the mean rank by self-confidence and epoch-confidence)"
        ),
    ] = None,
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Every metric of the file, side by side.")
    ] = False,
    images: Annotated[int, typer.Option(min=1, max=50, help="Images of either end.")] = 5,
    data_root: Annotated[Path | None, typer.Option(help="Where the images lie now.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="An existing folder, or the files' name without .png and .html. "
            "(default: gallery/ and the name of the scores and of the metrics)"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
) -> None:
    """Show the outliers and the prototypes of every class.

    Writes a picture, and a page with their ranks: a row a class, outliers on the left, prototypes
    on the right.
    """
    from fmsel.artefacts import check_output
    from fmsel.datasets import Source, load_dataset
    from fmsel.errors import OptionError
    from fmsel.metrics.scores import Scores
    from fmsel.report.gallery import rankings
    from fmsel.report.gallery_page import write_gallery

    if all_metrics and metric:
        raise OptionError("--all-metrics shows every metric; leave it or --metric out")
    made = Scores.load(scores)
    for name in metric or ():
        made.array(name)
    chosen = tuple(made.arrays) if all_metrics else tuple(dict.fromkeys(metric or ()))
    stem = _stem(out, "-".join((scores.stem, *(("all",) if all_metrics else chosen))))
    for suffix in (".png", ".html"):
        check_output(stem.with_name(stem.name + suffix), force)
    data = load_dataset(Source.from_dict(made.dataset["source"]), data_root=data_root)
    made.check(data, str(scores))
    for path in write_gallery(data, rankings(made, data.labels, chosen), stem, images, force):
        print(f"wrote {path}")


def _stem(out: Path | None, name: str) -> Path:
    """The files' path without a suffix."""
    if out is None:
        return Path("gallery") / name
    if out.is_dir():
        return out / name
    return out.with_suffix("") if out.suffix in (".png", ".html") else out
