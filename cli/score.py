"""`fmsel score`: how prototypical is every image?"""

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from fmsel.datasets import ImageDataset
    from fmsel.metrics.scores import Scores

SHOWN = 3  # images at either end of a class
MATRIX = 4  # metrics whose correlations fit a terminal


def score(
    dataset: Annotated[str, typer.Argument(help="A data set's name, or an image folder.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric, or a group: default, cheap, all (repeat for more)."),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="For metrics without labels: made by `fmsel embed` (default: patches)."),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Take the rankings that come with fmsel.")
    ] = False,
    data_root: Annotated[Path | None, typer.Option(help="Where the data set lies.")] = None,
    resize: Annotated[int | None, typer.Option(help="Resize images to this side, pixels.")] = None,
    eval_fraction: Annotated[
        float, typer.Option(help="Share held out as test where a folder has no test part.")
    ] = 0.1,
    offline: Annotated[bool, typer.Option("--offline", help="Never download.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Scores file (default: scores/<dataset>.npz).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    cache: Annotated[
        bool, typer.Option(help="Reuse what earlier runs finished: networks and their outputs.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace metrics already there.")] = False,
) -> None:
    """Score every training image by how prototypical it is.

    Writes scores/<dataset>.npz. An existing file of the same images gains the new metrics; those it
    already holds are only replaced with --force. A group makes those of its metrics that are
    missing.
    """
    from fmsel.datasets import load_dataset
    from fmsel.embeddings.vectors import Embeddings
    from fmsel.errors import OptionError
    from fmsel.metrics.evidence import Settings
    from fmsel.metrics.scores.catalogue import check_metrics, metric_module, named_metrics
    from fmsel.metrics.scores.published import published_scores
    from fmsel.metrics.scores.score import merge, score_dataset
    from fmsel.metrics.scores.update import existing_scores, missing_metrics

    # Names of files and classes may hold brackets, which rich would read as markup.
    err = Console(stderr=True, highlight=False, markup=False)
    out_console = Console(highlight=False, markup=False)
    if published and (metric or embeddings):
        raise OptionError(
            "--published takes the metrics that were published; leave out --metric and --embeddings"
        )
    names = check_metrics(metric or ["default"])
    if embeddings and not any("embedding" in metric_module(name).NEEDS for name in names):
        raise OptionError(
            f"none of {', '.join(names)} reads --embeddings; name a metric without labels too, "
            "such as --metric knn-density"
        )
    data = load_dataset(
        dataset, data_root=data_root, resize=resize, eval_fraction=eval_fraction, offline=offline
    )
    path = out or Path("scores") / f"{data.name}.npz"
    ready, provenance = published_scores(data) if published else (None, "")
    asked = tuple(ready.arrays) if ready is not None else names
    named = asked if ready is not None else named_metrics(metric or [])
    old = existing_scores(path, data, named, force)
    names = missing_metrics(path, old, asked, force)
    if old is not None and len(names) < len(asked):
        kept = [name for name in asked if name not in names]
        err.print(f"{data.name}: {path} already holds {', '.join(kept)}; these are kept")
    settings = Settings(
        seed=seed,
        device=device,
        precision=precision,
        cache=cache,
        embeddings=Embeddings.load(embeddings) if embeddings else None,
        say=lambda line: err.print(f"{data.name}: {line}"),
    )
    scores = ready if ready is not None else score_dataset(data, names, settings=settings)
    if old is not None:
        scores = merge(old, scores)
    scores.save(path, force=old is not None or force)
    _print(scores, data, out_console)
    if provenance:
        out_console.print(f"published rankings, not computed here: {provenance}")
    out_console.print(f"wrote {path}")


def _print(scores: "Scores", data: "ImageDataset", console: Console) -> None:
    from fmsel.metrics.scores.summary import default_ranking, extremes, ranking_name

    ranking, used = default_ranking(scores, data.labels)
    title = f"{data.name}: ids at the ends of each class, by {ranking_name(used)}"
    ends = Table(title=title)
    for column in ("class", "images", "most prototypical", "least prototypical"):
        ends.add_column(column, justify="right" if column == "images" else "left")
    for label, (best, worst) in extremes(ranking, data.labels, SHOWN).items():
        count = int((data.labels == label).sum())
        ends.add_row(
            data.class_names[label],
            f"{count:,}",
            " ".join(data.ids[best]),
            " ".join(data.ids[worst]),
        )
    if ends.row_count:
        console.print(ends)
    console.print(_metric_table(scores))
    for kind, seconds in _evidence_seconds(scores).items():
        console.print(f"{kind}: {seconds:.0f} s, shared by all metrics that read it", style="dim")
    console.print(
        "labels: none = reads no label, training = networks learned from labels, "
        "formula = reads the image's own label",
        style="dim",
    )


def _metric_table(scores: "Scores") -> Table:
    """Label use and seconds of every metric, and their correlations where those are few."""
    from fmsel.metrics.scores.summary import rank_correlations

    names = list(scores.arrays)
    few = len(names) <= MATRIX
    table = Table(title="metrics" + ", and their rank correlations (Spearman)" * few)
    table.add_column("", justify="right")
    table.add_column("metric", no_wrap=True)
    table.add_column("labels")
    for number in range(1, len(names) + 1 if few else 1):
        table.add_column(str(number), justify="right")
    table.add_column("seconds", justify="right")
    rows: list[list[float]] = rank_correlations(scores).tolist() if few else [[]] * len(names)
    for number, (name, row) in enumerate(zip(names, rows, strict=True), 1):
        record = scores.records[name]
        cells = ["–" if isnan(value) else f"{value:.2f}" for value in row]  # one is constant
        table.add_row(str(number), name, record.label_use, *cells, f"{record.seconds:.2f}")
    if not few:
        table.caption = "`fmsel scores report` compares them"
    return table


def _evidence_seconds(scores: "Scores") -> dict[str, float]:
    """Evidence -> seconds, of the metrics that were made last."""
    return {k: s for r in scores.records.values() for k, s in r.evidence_seconds.items()}
