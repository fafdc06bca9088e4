"""Replicates of one run: new training seeds and, where chance chose the images, new choices."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmsel.datasets import ImageDataset
from fmsel.errors import OptionError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run import train
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.loop import describe
from fmsel.selection.split import Split
from fmsel.selection.split.make import redraw
from fmsel.training.engine.device import (
    resolve_device,
    resolve_execution,
    resolve_precision,
)


@dataclass(frozen=True, kw_only=True)
class Replicate:
    """One run to be made."""

    seed: int  # of the training
    split: Split
    out: Path


def plan_replicates(
    split: Split, data: ImageDataset, *, name: str, seed: int, count: int, out: Path | None
) -> list[Replicate]:
    """Runs of `split` with the training seeds seed, seed + 1, …

    The first one trains on `split` itself; in the others a random split is drawn anew with the
    selection seeds split.seed + 1, split.seed + 2, …

    Args:
        split: the first replicate's.
        data: the train part it belongs to.
        name: of the experiment; the folders are `runs/<name>-seed<k>`.
        seed: the first training seed.
        count: number of replicates, at least 1.
        out: the run folder of a single run; what replaces `runs` for several.
    Raises:
        OptionError: `count` is below 1 or `seed` below 0.
    """
    if count < 1 or seed < 0:
        raise OptionError(f"seeds={count} must be at least 1 and seed={seed} at least 0")
    root = out or Path("runs")
    return [
        Replicate(
            seed=seed + k,
            split=redraw(split, data, split.seed + k) if k else split,
            out=out if out and count == 1 else root / f"{name}-seed{seed + k}",
        )
        for k in range(count)
    ]


def train_replicates(
    replicates: list[Replicate],
    data: ImageDataset,
    test: ImageDataset | None,
    config: FixMatchConfig,
    *,
    split_name: str,
    resume: bool = False,
    force: bool = False,
    supervised_only: bool = False,
    device: str = "auto",
    precision: str = "auto",
    execution: str = "auto",
    deterministic: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[tuple[Replicate, dict[str, Any]]]:
    """Train one after another, yielding each with its summary as soon as it is done.

    All outputs are checked before the first run starts. Of several replicates, those that are
    finished already are kept and not yielded, so that more can join an earlier one. With `resume`
    the first folder must exist; later ones that do not yet are started.

    Args:
        replicates: one or more.
        say: told a line about each replicate that is kept.
        data, test, config, split_name, resume, force, supervised_only, device, precision,
            execution, deterministic, progress: as for `train`.
    """
    target = resolve_device(device)
    real_precision = resolve_precision(precision, target)
    real_execution = resolve_execution(execution, target)

    def finished(each: Replicate) -> bool:
        description = describe(
            each.split,
            data,
            test,
            config,
            seed=each.seed,
            split_name=split_name,
            supervised_only=supervised_only,
            device=target,
            precision=real_precision,
            execution=real_execution,
            deterministic=deterministic,
        )
        return RunFolder(each.out).finished_as(description)

    left = []
    for k, each in enumerate(replicates):
        if len(replicates) > 1 and not force and finished(each):
            say(f"kept {each.out}, which is finished")
            continue
        again = resume and (k == 0 or each.out.exists())
        if not again:
            RunFolder(each.out).check_new(force)
        left.append((each, again))
    for each, again in left:
        summary = train(
            each.split,
            data,
            test,
            config,
            each.out,
            seed=each.seed,
            split_name=split_name,
            supervised_only=supervised_only,
            device=device,
            precision=precision,
            execution=execution,
            deterministic=deterministic,
            resume=again,
            force=force,
            progress=progress,
        )
        yield each, summary
