"""`fmsel scores`: what a scores file says of metrics and of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fmsel.datasets import ImageDataset
    from fmsel.datasets.published import PublishedSets
    from fmsel.metrics.evidence import Settings
    from fmsel.metrics.scores import Scores

app = typer.Typer(no_args_is_help=True, help="What a scores file says of metrics and of images.")

SHOWN = 20  # suspects on the terminal
EXAMPLES = 3  # images of a category and class on the terminal

ScoresFile = Annotated[Path, typer.Argument(metavar="SCORES", help="Made by `fmsel score`.")]
DataRoot = Annotated[
    Path | None, typer.Option(help="Where the data set's images lie now, if they were moved.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Never download.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]


@app.callback()
def scores() -> None:
    """What a scores file says of metrics and of images."""


@app.command()
def report(
    path: ScoresFile,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare with this ranking, higher = more prototypical: an npz of one value an "
            "image, or a csv with a column `index`; FILE:NAME where it holds several.",
        ),
    ] = None,
    published_sets: Annotated[
        bool | None,
        typer.Option(help="Compare with the FixMatch index sets. (default: if they match)"),
    ] = None,
    data_root: DataRoot = None,
    offline: Offline = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder. (default: beside SCORES, NAME-report)")
    ] = None,
    force: Force = False,
) -> None:
    """How far the metrics agree, what each costs, how well it ranks.

    Writes a page and a picture.
    """
    from fmsel.metrics.scores.quality import bootstrap_work, measure_quality
    from fmsel.metrics.scores.reference import load_references
    from fmsel.metrics.scores.summary import made_with_other_labels, provenances
    from fmsel.progress import progress_bar
    from fmsel.report.scores import check_report, quality_tables, report_notes, write_report

    folder = out or path.with_name(f"{path.stem}-report")
    check_report(folder, force)
    scores, data = _load(path, data_root, offline)
    references = load_references(reference or [], data)
    sets = _published_sets(data, published_sets)
    with progress_bar("resamples", bootstrap_work(references), "resamples") as advance:
        quality = measure_quality(scores, data.labels, references, sets, advance)
    changed = made_with_other_labels(scores, data.labels_sha256)
    notes = report_notes(quality, references, changed, provenances(scores))
    write_report(quality, f"Metrics of {data.name}, {len(data):,} images", notes, folder, force)
    console = Console(highlight=False, markup=False)
    for table in quality_tables(quality):
        _print(console, table.title, table.headings, table.rows)
    for note in notes:
        console.print(note, style="dim")
    console.print(f"wrote report.html and report.png into {folder}")


@app.command()
def categories(
    path: ScoresFile,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="Find submodes in these, made by `fmsel embed`. (default: patches)"),
    ] = None,
    data_root: DataRoot = None,
    offline: Offline = False,
    out: Annotated[
        Path | None, typer.Option(help="CSV or JSON. (default: beside SCORES, NAME-categories.csv)")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the patch features.")] = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Canonical prototypes, memorized exceptions, uncommon submodes.

    Reads every label. Writes a line for each image.
    """
    from fmsel.metrics.scores.categories import (
        NEEDED,
        ROLES,
        SUBMODE,
        categorise,
        missing_roles,
    )
    from fmsel.metrics.scores.export import check_rows_output, write_rows

    file = out or path.with_name(f"{path.stem}-categories.csv")
    check_rows_output(file, force)
    scores, data = _load(path, data_root, offline)
    _need_labels(data, "categories are told apart within classes")
    console = Console(highlight=False, markup=False)
    command = f"fmsel score {data.source.arguments()}"
    for kind, roles in missing_roles(scores).items():
        needed = " and ".join(_one_of(ROLES[role]) for role in roles)
        words = " ".join(f"--metric {ROLES[role][0]}" for role in roles)
        ranked = [ROLES[role][0] for role in roles if ROLES[role][0] in scores.arrays]
        if ranked:
            needed += f" as scores, and {path} holds published ranks of {', '.join(ranked)}"
            words += " --force"
        console.print(f"no {kind}s: they need {needed}; `{command} {words} --out {path}` adds them")
    if len(scores.arrays) == 1:
        console.print("a single metric has nothing to agree with: canonical prototypes say little")
    vectors = _vectors(embeddings, data)
    if vectors is None and SUBMODE not in missing_roles(scores):
        vectors = _patches(data, _settings(seed, device, "auto", data))
    found = categorise(scores, data.labels, vectors)
    ends = []
    for kind in NEEDED:
        for label, name in enumerate(data.class_names):
            members = ((found.category == kind) & (data.labels == label)).nonzero()[0]
            if len(members):
                examples = " ".join(data.ids[members[:EXAMPLES]])
                clusters = len(set(found.cluster[members].tolist()) - {-1})
                ends.append((kind, name, f"{len(members):,}", str(clusters or "–"), examples))
    if ends:
        _print(
            console,
            f"{data.name}: oracle, as it reads every label",
            ("category", "class", "images", "clusters", "such as"),
            ends,
        )
    else:
        console.print(f"no image of {data.name} falls into a category")
    rows = [
        (i, str(data.ids[i]), data.class_names[data.labels[i]], *each)
        for i, each in enumerate(zip(found.category.tolist(), found.cluster.tolist(), strict=True))
    ]
    write_rows(file, ("index", "id", "class", "category", "cluster"), rows, force)
    console.print(f"wrote {file}")


@app.command()
def suspects(
    path: ScoresFile,
    count: Annotated[
        int | None, typer.Option(min=1, help="The likeliest N only. (default: all)")
    ] = None,
    data_root: DataRoot = None,
    offline: Offline = False,
    out: Annotated[
        Path | None, typer.Option(help="CSV or JSON. (default: beside SCORES, NAME-suspects.csv)")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the networks. (default: that of SCORES)")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    force: Force = False,
) -> None:
    """Likely label errors, each with the label that networks propose.

    Networks that did not see the image propose it. They are those of the default metrics: from the
    cache at once, or else trained.
    """
    from fmsel.metrics.evidence import gather
    from fmsel.metrics.evidence.crossfit import Crossfit
    from fmsel.metrics.scores.export import check_rows_output, write_rows
    from fmsel.metrics.scores.suspects import find_suspects

    file = out or path.with_name(f"{path.stem}-suspects.csv")
    check_rows_output(file, force)
    scores, data = _load(path, data_root, offline)
    _need_labels(data, "a label error is a label that networks doubt")
    chosen = _crossfit_seed(scores) if seed is None else seed
    evidence = gather(data, ["crossfit"], _settings(chosen, device, precision, data))
    found = find_suspects(evidence.get(Crossfit).heldout.mean(axis=0), data.labels)
    rows = [
        (
            int(i),
            str(data.ids[i]),
            data.class_names[data.labels[i]],
            data.class_names[proposed],
            round(float(probability), 4),
            round(float(score), 4),
        )
        for i, proposed, probability, score in zip(
            found.indices, found.proposed, found.probability, found.score, strict=True
        )
    ][:count]
    headings = ("index", "id", "given", "proposed", "probability", "score")
    write_rows(file, headings, rows, force)
    console = Console(highlight=False, markup=False)
    shown = [tuple(map(str, row)) for row in rows[:SHOWN]]
    _print(console, f"{data.name}: likely label errors, the likeliest first", headings, shown)
    console.print(f"{len(found.indices):,} suspects among {len(data):,} images; wrote {file}")


def _load(path: Path, data_root: Path | None, offline: bool) -> "tuple[Scores, ImageDataset]":
    from fmsel.datasets import Source, load_dataset
    from fmsel.metrics.scores import Scores

    scores = Scores.load(path)
    source = Source.from_dict(scores.dataset["source"])
    data = load_dataset(source, data_root=data_root, offline=offline)
    scores.check(data, str(path))
    return scores, data


def _need_labels(data: "ImageDataset", why: str) -> None:
    from fmsel.errors import DataError

    if not data.labelled:
        raise DataError(f"{data.name} has images without a label, but {why}; label them first")


def _published_sets(data: "ImageDataset", wanted: bool | None) -> "PublishedSets | None":
    from fmsel.datasets.published.fixmatch_ordered import SETS
    from fmsel.errors import OptionError

    if wanted and not SETS.matches(data):
        raise OptionError(
            f"the published sets are of {SETS.dataset} with {SETS.n:,} training images and its own "
            f"labels, not of {data.name}; leave out --published-sets"
        )
    return SETS if wanted is not False and SETS.matches(data) else None


def _vectors(file: Path | None, data: "ImageDataset") -> "npt.NDArray[np.float32] | None":
    import numpy as np

    from fmsel.embeddings.vectors import Embeddings

    if file is None:
        return None
    found = Embeddings.load(file)
    found.check(data, str(file))
    return np.asarray(found.features)


def _patches(data: "ImageDataset", settings: "Settings") -> "npt.NDArray[np.float32]":
    from fmsel.metrics.evidence import gather
    from fmsel.metrics.evidence.patches import Patches

    return gather(data, ["patches"], settings).get(Patches).features


def _settings(seed: int, device: str, precision: str, data: "ImageDataset") -> "Settings":
    from fmsel.metrics.evidence import Settings

    err = Console(stderr=True, highlight=False, markup=False)
    return Settings(
        seed=seed,
        device=device,
        precision=precision,
        say=lambda line: err.print(f"{data.name}: {line}"),
    )


def _crossfit_seed(scores: "Scores") -> int:
    """The seed of the ensemble that was scored with; 0 where there was none."""
    seeds = [r.seed for r in scores.records.values() if "crossfit" in r.parameters]
    return seeds[0] if seeds else 0


def _one_of(metrics: Sequence[str]) -> str:
    return metrics[0] if len(metrics) == 1 else f"one of {', '.join(metrics)}"


def _print(
    console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for position, heading in enumerate(headings):
        table.add_column(heading, no_wrap=position == 0)
    for row in rows:
        table.add_row(*row)
    console.print(title, style="bold")
    console.print(table)
