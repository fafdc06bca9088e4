"""`fmsel split` and its subcommands show, check, strategies, import and export."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from fmsel.errors import OptionError

if TYPE_CHECKING:
    from fmsel.datasets import ImageDataset
    from fmsel.selection.geometry.backend import Backend
    from fmsel.selection.split.known import Known

BARE = ""  # `--random` without N
# How `--help` groups the options.
WHAT, HOW, HEED = "What to choose", "How", "What to heed"


class RandomTakesAnOptionalNumber(TyperGroup):
    """Lets `--random` stand alone as well as before its N, which typer's options cannot."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_number(args))


def _with_number(args: list[str]) -> list[str]:
    """Give every bare `--random` the value `BARE`."""
    return [
        f"--random={BARE}" if word == "--random" and _is_option(after) else word
        for word, after in zip_longest(args, args[1:], fillvalue="")
    ]


def _is_option(word: str) -> bool:
    """Whether this is an option, or the end, and no number, not even a negative one."""
    return not word or (word.startswith("-") and not word[1:2].isdigit())


app = typer.Typer(cls=RandomTakesAnOptionalNumber)

DatasetOption = Annotated[str | None, typer.Option(help="A built-in name or an image folder.")]
DataRootOption = Annotated[Path | None, typer.Option(help="Where the images lie now.")]
ResizeOption = Annotated[int | None, typer.Option(help="Pixels a side, with --dataset.")]
EvalFractionOption = Annotated[
    float | None,
    typer.Option(help="Share held out as test where a folder has no test part, with --dataset."),
]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Never download.")]
ScoresOption = Annotated[
    Path | None, typer.Option(help="A scores file. (default: the only one in scores/)")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]
FormatOption = Annotated[
    str | None, typer.Option(help="npy, txt, fixmatch or usb. (default: by the suffix)")
]
SplitArgument = Annotated[Path, typer.Argument(help="A split, such as splits/mixed.json.")]


@app.callback(invoke_without_command=True)
def split(
    ctx: typer.Context,
    random: Annotated[
        str | None,
        typer.Option(
            metavar="[N]",
            help="N labels in all, or --per-class N of each class.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="typiclust, probcover, margin, …; `fmsel split strategies` lists them.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(help="New labels in all, with --strategy.", rich_help_panel=WHAT),
    ] = None,
    per_class: Annotated[
        int | None,
        typer.Option(help="New labels of each class, which reads labels.", rich_help_panel=WHAT),
    ] = None,
    protos: Annotated[
        int | None,
        typer.Option(
            help="Prototypes of each class; with --clusters of each cluster.", rich_help_panel=WHAT
        ),
    ] = None,
    outliers: Annotated[
        int | None, typer.Option(help="Outliers, likewise.", rich_help_panel=WHAT)
    ] = None,
    ratio: Annotated[
        float | None,
        typer.Option(help="Share of prototypes in --per-class, 0 to 1.", rich_help_panel=WHAT),
    ] = None,
    published: Annotated[
        str | None,
        typer.Option(
            metavar="SET", help="A published set: fixmatch-0 to fixmatch-7.", rich_help_panel=WHAT
        ),
    ] = None,
    outlier_band: Annotated[
        str | None,
        typer.Option(
            metavar="FROM-TO",
            help="Percentiles of the class from its outlier end to take outliers from, the most "
            "extreme first. (default: the extreme tail)",
            rich_help_panel=HOW,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Rank by this; several are rank-averaged. "
            "(default: self-confidence and epoch-confidence)",
            rich_help_panel=HOW,
        ),
    ] = None,
    clusters: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="With --protos and --outliers: of K clusters in place of classes; no labels.",
            rich_help_panel=HOW,
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A parameter of the strategy, such as delta=0.5; several may be given.",
            rich_help_panel=HOW,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random choices.", rich_help_panel=HOW)] = 0,
    labeled: Annotated[
        Path | None,
        typer.Option(
            metavar="SPLIT",
            help="Labels that are there already; the new split begins with them.",
            rich_help_panel=HEED,
        ),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Images never to choose: a split, .npy, .txt, or a .csv with a column id.",
            rich_help_panel=HEED,
        ),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Columns id and group: at most one image of a group (a patient, a video).",
            rich_help_panel=HEED,
        ),
    ] = None,
    near_duplicates: Annotated[
        float | None,
        typer.Option(
            metavar="COSINE",
            help="At most one of images whose embeddings are this similar, such as 0.98.",
            rich_help_panel=HEED,
        ),
    ] = None,
    scores: ScoresOption = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="An embeddings file. (default: the run's, or the one in embeddings/)"),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="A trained run, for its predictions; its labels are held."),
    ] = None,
    device: Annotated[str, typer.Option(help="Of the run's network: auto, cpu, cuda, …")] = "auto",
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run passes over all images on the workers of this scheduler; local = a worker "
            "for each core of this machine. The choice is the same.",
        ),
    ] = None,
    dataset: DatasetOption = None,
    data_root: DataRootOption = None,
    resize: ResizeOption = None,
    eval_fraction: EvalFractionOption = None,
    offline: OfflineOption = False,
    out: Annotated[
        Path | None,
        typer.Option(help="A .json file. (default: splits/ and the strategy's name)"),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Choose the images to label.

    At random, by scores, by embeddings or by a trained run; writes splits/<name>.json. The commands
    below look at splits, and bring them in and out.
    """
    if ctx.invoked_subcommand is not None:
        return
    from fmsel.report.split import summary
    from fmsel.selection.split import make_split
    from fmsel.selection.split.inputs import (
        check_split_output,
        load_inputs,
        load_known,
        source_of,
    )
    from fmsel.selection.split.request import Request, parse_total

    request = Request(
        random=random is not None,
        total=parse_total(random or BARE),
        strategy=strategy,
        published=published,
        budget=budget,
        per_class=per_class,
        protos=protos,
        outliers=outliers,
        ratio=ratio,
        outlier_band=outlier_band,
        clusters=clusters,
        settings=tuple(setting or ()),
        metrics=tuple(metric or ()),
    )
    chosen = request.chosen
    if dask is not None and not chosen.DISTRIBUTED:
        raise OptionError(
            f"{chosen.name} has no pass over all images that could run elsewhere; leave out --dask"
        )
    out = out or Path("splits") / request.file_name
    with _backend(dask) as backend:  # at once, since reading may take long
        data, found, scores_file = load_inputs(
            needs_scores=bool(chosen.metrics),
            dataset=dataset,
            data_root=data_root,
            resize=resize,
            eval_fraction=eval_fraction,
            offline=offline,
            scores_path=scores,
            source=source_of(
                chosen, dataset=dataset, run=run, embeddings=embeddings, labeled=labeled
            ),
        )
        known = load_known(
            data,
            chosen,
            run=None if run is None else _run_known(run, data, device),
            embeddings=embeddings,
            labeled=labeled,
            exclude=exclude,
            groups=groups,
            duplicates=near_duplicates,
        )
        if alike := known.provenance.get("near_duplicates"):
            print(f"near-duplicates: {alike['images']} images in {alike['groups']} groups")
        check_split_output(out, data, force)  # once all that was asked for makes sense
        made = make_split(
            data,
            chosen,
            batch_size=request.batch_size(data.n_classes),
            seed=seed,
            scores=found,
            scores_file=scores_file,
            known=replace(known, backend=backend),
        )
    made.save(out, force)
    print(f"wrote {out}: {summary(made)}")


def _backend(address: str | None) -> AbstractContextManager["Backend"]:
    from fmsel.selection.geometry.backend import Local

    if address is None:
        return nullcontext(Local())
    from fmsel.selection.geometry.dask_backend import dask_at

    return dask_at(address)


def _run_known(run: Path, data: "ImageDataset", device: str) -> "Known":
    from fmsel.fixmatch.use.outputs import run_outputs

    return run_outputs(run, data, device=device).known


@app.command()
def strategies() -> None:
    """List the strategies: what each reads, does and takes."""
    from fmsel.selection.pool.catalogue import catalogue

    table = Table(box=None, pad_edge=False, title="fmsel split --strategy NAME --budget N")
    for title in ("strategy", "reads", "labels", "prefix", "what it chooses"):
        table.add_column(title, overflow="fold")
    for each in catalogue():
        labels = "none" if each.label_use == "none" else "oracle"
        reads, prefix = ", ".join(each.reads) or "-", "yes" if each.nested else "no"
        what = each.summary + "".join(f"\n  --set {text}" for text in each.parameters)
        table.add_row(each.name, reads, labels, prefix, what)
    Console(markup=False).print(table)
    print("prefix: whether the first images of a split are the choice of a smaller budget")


@app.command()
def show(
    file: SplitArgument, scores: ScoresOption = None, data_root: DataRootOption = None
) -> None:
    """Print a split's class counts, its images and where it came from.

    With the percentiles of its images under the scores.
    """
    from fmsel.report.split import class_table, facts_table, index_table
    from fmsel.selection.split import Split

    found = Split.load(file)
    percentiles = index_table(found, scores, data_root)
    console = Console(markup=False)  # class and file names may hold brackets
    for part in (facts_table(found), class_table(found), percentiles):
        console.print(part)


@app.command()
def check(
    file: SplitArgument,
    dataset: DatasetOption = None,
    data_root: DataRootOption = None,
    resize: ResizeOption = None,
) -> None:
    """Check a split against the data set that it names, or another."""
    from fmsel.report.split import summary
    from fmsel.selection.split import Split
    from fmsel.selection.split.inputs import load_split_data

    found = Split.load(file)
    data = load_split_data(found, dataset, data_root, resize)
    found.check(data, str(file))
    print(f"ok: {file} fits {data.name}: {summary(found)}")


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="An index list: .npy, .txt or label.json.")],
    dataset: Annotated[str, typer.Option(help="A built-in name or an image folder.")],
    data_root: DataRootOption = None,
    resize: ResizeOption = None,
    eval_fraction: EvalFractionOption = None,
    offline: OfflineOption = False,
    format: FormatOption = None,
    out: Annotated[
        Path | None, typer.Option(help="A .json file. (default: splits/ and the file's name)")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Make a split of a bare list of indices.

    From .npy (USB's too), .txt, or FixMatch's label.json. Indices must count in the data set's
    original order, which is torchvision's. TensorFlow Datasets has another order: its indices would
    silently name other images.
    """
    from fmsel.report.split import summary
    from fmsel.selection.split.exchange import import_split
    from fmsel.selection.split.inputs import check_split_output, load_inputs

    out = out or Path("splits") / f"{file.stem}.json"
    data, _, _ = load_inputs(
        needs_scores=False,
        dataset=dataset,
        data_root=data_root,
        resize=resize,
        eval_fraction=eval_fraction,
        offline=offline,
    )
    check_split_output(out, data, force)
    made = import_split(file, data, format)
    made.save(out, force)
    print(f"wrote {out}: {summary(made)}")


@app.command()
def export(
    file: SplitArgument,
    to: Annotated[Path, typer.Option(help="The file to write; with --format usb a folder.")],
    data_root: DataRootOption = None,
    format: FormatOption = None,
    force: ForceOption = False,
) -> None:
    """Write a split's indices for other code bases.

    They count in the data set's original order. Pick order is kept in .npy and .txt; FixMatch's
    label.json is sorted. --format usb writes USB's pair of labelled and unlabelled .npy files into
    a folder.
    """
    from fmsel.selection.split import Split
    from fmsel.selection.split.exchange import export_split, pick_format
    from fmsel.selection.split.inputs import load_split_data

    found = Split.load(file)
    data = None
    if pick_format(to, format) == "fixmatch":
        data = load_split_data(found, data_root=data_root)
        found.check(data, str(file))
    for path in export_split(found, to, data, format, force):
        print(f"wrote {path}")
