"""`fmsel loop`."""

from pathlib import Path
from typing import Annotated

import typer

OWN_LABELS = "dataset"


def loop(
    dataset: Annotated[str, typer.Argument(help="A data set's name, or an image folder.")],
    strategy: Annotated[
        list[str], typer.Option(help="typiclust, margin, random, …; several are compared.")
    ],
    budgets: Annotated[
        str, typer.Option(help="Labels at the end of each round, in all, such as 10,20,40.")
    ],
    start: Annotated[
        str,
        typer.Option(help="Chooses the first round of strategies that need a trained run."),
    ] = "random",
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="STRATEGY.KEY=VALUE",
            help="A parameter, such as probcover.delta=0.5; several may be given.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Tracks of each strategy: seeds 0, 1, …")] = 3,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="For strategies that need no run but features. (default: the only one in "
            "embeddings/)"
        ),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="A scores file. (default: the only one in scores/)")
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Images never to choose: a split, .npy, .txt, or a .csv with a column id.",
        ),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Columns id and group: at most one image of a group (a patient, a video).",
        ),
    ] = None,
    near_duplicates: Annotated[
        float | None,
        typer.Option(
            metavar="COSINE",
            help="At most one of images whose embeddings are this similar, such as 0.98.",
        ),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            metavar="dataset|PATH",
            help="Who answers: the data set's own labels, or people, in a file or folder of "
            "answers (.csv; .json of Label Studio).",
        ),
    ] = OWN_LABELS,
    preset: Annotated[
        str | None,
        typer.Option(help="paper, fast, cpu or smoke. (default: paper on a GPU, cpu without one)"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Training steps of each run. (default: the preset's)")
    ] = None,
    warm_start: Annotated[
        bool, typer.Option("--warm-start", help="Start each run from the one of the round before.")
    ] = False,
    supervised_only: Annotated[
        bool, typer.Option("--supervised-only", help="Train on the labels alone.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The loop's folder. (default: loops/DATASET)")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a loop; it must be there.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    data_root: Annotated[Path | None, typer.Option(help="Where the images lie.")] = None,
    resize: Annotated[int | None, typer.Option(help="Resize images to this side, pixels.")] = None,
    eval_fraction: Annotated[
        float | None,
        typer.Option(help="Share held out as test where a folder has no test part."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
) -> None:
    """Choose, label and train in rounds; compare strategies.

    They are compared by their learning curves. The same command goes on with a loop that was
    stopped, or that waited for labels; with more --budgets at the end, or more --seeds, it goes on
    beyond its end.
    """
    from fmsel.datasets import load_dataset
    from fmsel.embeddings.vectors import Embeddings
    from fmsel.experiments.loop.label import Waiting
    from fmsel.experiments.loop.run import run_loop
    from fmsel.experiments.loop.setup import (
        Setup,
        needs_run,
        parse_budgets,
        parse_strategies,
        reads_embedding,
    )
    from fmsel.fixmatch.presets import configure
    from fmsel.fixmatch.run.job import Options
    from fmsel.report.loop import print_loop, write_loop
    from fmsel.selection.split.inputs import load_heeds, load_inputs, only_embeddings
    from fmsel.selection.split.known import Known, embedded

    *chosen, first = parse_strategies([*strategy, start], setting or ())
    numbers = parse_budgets(budgets)
    data, found, scores_file = load_inputs(
        needs_scores=any(each.metrics for each in (*chosen, first)),
        dataset=dataset,
        data_root=data_root,
        resize=resize,
        eval_fraction=eval_fraction,
        offline=offline,
        scores_path=scores,
    )
    read = (*chosen, first) if any(map(needs_run, chosen)) else chosen
    wanted = near_duplicates is not None or any(map(reads_embedding, read))
    if embeddings is None and wanted:
        embeddings = only_embeddings(data)
    embedding = None
    if embeddings is not None:
        embedding = embedded(data, Embeddings.load(embeddings), embeddings.name)
    heeds = load_heeds(data, embedding or Known(), exclude, groups, near_duplicates)
    if alike := heeds.provenance.get("near_duplicates"):
        print(f"near-duplicates: {alike['images']} images in {alike['groups']} groups")
    setup = Setup(
        data=data,
        test=load_dataset(data.source, "test", data_root=data_root, offline=offline),
        strategies=chosen,
        start=first,
        budgets=numbers,
        seeds=seeds,
        config=configure(preset, data.images.shape[1], device, {"steps": steps}),
        options=Options(supervised_only=supervised_only, device=device, precision=precision),
        warm_start=warm_start,
        embedding=embedding,
        heeds=heeds,
        scores=found,
        scores_file=scores_file,
        answers=None if labels == OWN_LABELS else Path(labels),
    )
    folder = out or Path("loops") / data.name
    done = run_loop(setup, folder, resume=resume, say=print)
    if isinstance(done, Waiting):
        print(done)
        return
    written = write_loop(done, folder)
    print_loop(done)
    print(f"wrote {', '.join(str(each) for each in written)}")
