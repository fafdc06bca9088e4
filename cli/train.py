"""`fmsel train`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

RECIPE = "Recipe (default: the preset's)"


def _setting(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=RECIPE, show_default=False)


def train(
    ctx: typer.Context,
    split: Annotated[
        list[Path], typer.Option(help="The split, such as splits/mixed.json; several may be given.")
    ],
    preset: Annotated[
        str | None,
        typer.Option(help="paper, fast, cpu or smoke. (default: paper on a GPU, cpu without one)"),
    ] = None,
    supervised_only: Annotated[
        bool, typer.Option("--supervised-only", help="The same labels without the unlabelled loss.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Training seed.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            help="Replicates of each split: seeds SEED, SEED + 1, …; finished ones are kept."
        ),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run folder, or folder of the run folders of several runs. "
            "(default: runs/SPLIT[-supervised]-seedSEED)"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing run.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    together: Annotated[
        int | None,
        typer.Option(help="Runs that share the device at a time. (default: 4 on a GPU, else 1)"),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="How steps run: auto, eager, graph, fused (CUDA) or compile.")
    ] = "auto",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Equal bits on a GPU too, at some speed.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events into the run folder.")
    ] = False,
    keep_history: Annotated[
        bool,
        typer.Option(
            "--keep-history", help="Keep the classes of all images at the last 20 evaluations."
        ),
    ] = False,
    init: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Start from the averaged weights of another run."),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Where the images lie now, if they were moved.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    arch: Annotated[str | None, _setting("wrn-28-K, small-conv-WIDTH or resnet9-WIDTH.")] = None,
    steps: Annotated[int | None, _setting("Training steps.")] = None,
    batch: Annotated[int | None, _setting("Labelled images a step.")] = None,
    mu: Annotated[int | None, _setting("Unlabelled images a labelled one.")] = None,
    augment: Annotated[
        str | None, _setting("Strong augmentation: google-code, paper, usb, torchvision, …")
    ] = None,
    rule: Annotated[str | None, _setting("Pseudo-label rule: fixed, freematch, …")] = None,
    threshold: Annotated[float | None, _setting("Least confidence of a pseudo-label.")] = None,
    hard: Annotated[
        bool | None, _setting("Pseudo-labels are classes, or distributions.", "--hard/--soft")
    ] = None,
    temperature: Annotated[float | None, _setting("T of soft pseudo-labels.")] = None,
    prior: Annotated[
        str | None, _setting("Class shares a rule aligns with: uniform, labelled or 0.5,0.3,…")
    ] = None,
    lambda_u: Annotated[float | None, _setting("Weight of the unlabelled loss.")] = None,
    optimizer: Annotated[str | None, _setting("sgd, or adam (at lr 0.001).")] = None,
    lr: Annotated[float | None, _setting("Highest learning rate.")] = None,
    momentum: Annotated[float | None, _setting("Nesterov momentum.")] = None,
    weight_decay: Annotated[float | None, _setting("Coupled weight decay (L2).")] = None,
    decay_all: Annotated[
        bool | None, _setting("Decay biases and batch norm too.", "--decay-all/--decay-kernels")
    ] = None,
    schedule: Annotated[str | None, _setting("fixmatch, sgdr, plateau or constant.")] = None,
    warmup: Annotated[int | None, _setting("Steps of a linear rise from 0.")] = None,
    lr_min: Annotated[float | None, _setting("Least rate of sgdr and plateau.")] = None,
    sgdr_cycle: Annotated[int | None, _setting("Steps of sgdr's first cycle; 0 = all.")] = None,
    sgdr_growth: Annotated[int | None, _setting("Growth of sgdr's cycles.")] = None,
    plateau_factor: Annotated[float | None, _setting("By which plateau lowers the rate.")] = None,
    plateau_patience: Annotated[int | None, _setting("Evaluations that plateau waits.")] = None,
    ema_decay: Annotated[
        float | None, _setting("Decay of the averaged weights; 0 = no average.")
    ] = None,
    ema_ramp: Annotated[
        bool | None, _setting("Let the average forget its start.", "--ema-ramp/--no-ema-ramp")
    ] = None,
    bn_momentum: Annotated[float | None, _setting("Of batch norm's statistics.")] = None,
    weak_gradient: Annotated[
        bool | None,
        _setting(
            "Weak views share the others' batch norm, or pass alone: cheaper, not the paper's.",
            "--weak-gradient/--no-weak-gradient",
        ),
    ] = None,
    interleave: Annotated[
        bool | None, _setting("Mix the parts of a batch.", "--interleave/--no-interleave")
    ] = None,
    eval_every: Annotated[int | None, _setting("Steps between evaluations.")] = None,
) -> None:
    """Train FixMatch on a split's labels and all images.

    Writes a run folder. Ctrl-C saves; the same command with --resume goes on.
    """
    known = [each for each in ctx.command.params if isinstance(each, typer.core.TyperOption)]
    recipe = [each.name for each in known if each.rich_help_panel == RECIPE]
    settings = {name: ctx.params[name] for name in recipe if name}
    from dataclasses import replace

    from fmsel.datasets import Source, load_dataset
    from fmsel.errors import Interrupted
    from fmsel.experiments.replicates import plan_replicates, train_replicates
    from fmsel.fixmatch.idle import refuse_idle
    from fmsel.fixmatch.presets import configure
    from fmsel.fixmatch.run.job import Options
    from fmsel.fixmatch.run.record import CONFIG
    from fmsel.selection.split import Split

    splits = [Split.load(path) for path in split]
    source = Source.from_dict(splits[0].source)
    data = load_dataset(source, "train", data_root=data_root, offline=offline)
    for path, each in zip(split, splits, strict=True):
        each.check(data, str(path))
    test = load_dataset(source, "test", data_root=data_root, offline=offline)
    config = configure(preset, data.images.shape[1], device, settings)
    if not resume:  # a run that was begun before such options were refused can go on
        refuse_idle(config, supervised_only, _spelled(known, settings))
    single = len(splits) * seeds == 1
    runs = [
        job
        for path, each in zip(split, splits, strict=True)
        for job in plan_replicates(
            each,
            data,
            name=f"{path.stem}-supervised" if supervised_only else path.stem,
            seed=seed,
            count=seeds,
            root=Path("runs") if single or out is None else out,
            split_name=path.stem,
        )
    ]
    runs = [replace(job, init_from=init, out=out if single and out else job.out) for job in runs]
    options = Options(
        supervised_only=supervised_only,
        device=device,
        precision=precision,
        execution=mode,
        deterministic=deterministic,
        force=force,
        tensorboard=tensorboard,
        keep_history=keep_history,
    )
    results = train_replicates(
        runs, data, test, config, options, resume=resume, together=together, say=print
    )
    method = "supervised only" if supervised_only else "FixMatch"
    try:
        for job, summary in results:
            print(
                f"{_accuracy(summary)}; {method}, {len(job.split)} labels of {job.name}, "
                f"seed {job.seed}, {config.arch}, {config.steps:,} steps, "
                f"{summary['seconds']:.0f} s"
            )
            print(f"wrote {job.out}")
    except KeyboardInterrupt as stop:  # a second one, before the runs were saved
        if not any((job.out / CONFIG).exists() for job in runs):
            raise
        raise Interrupted(
            "nothing was saved after the last checkpoint; give the same command with --resume to "
            "go on from there"
        ) from stop


def _spelled(options: Sequence[typer.core.TyperOption], settings: dict[str, Any]) -> dict[str, str]:
    """The option by which each setting was given."""
    return {
        each.name: (each.secondary_opts if settings[each.name] is False else each.opts)[0]
        for each in options
        if each.name and settings.get(each.name) is not None
    }


def _accuracy(summary: dict[str, Any]) -> str:
    if summary["accuracy"] is None:
        return "no accuracy, for the test part has no labels"
    count = summary["accuracy_of"]
    which = f"median of the last {count} EMA evaluations" if count > 1 else "last EMA evaluation"
    return f"accuracy {summary['accuracy']:.2%} ({which})"
