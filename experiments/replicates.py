"""Replicates of one run: new training seeds and, where chance chose the images, new choices."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fmsel.datasets import ImageDataset
from fmsel.errors import OptionError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.inputs import check_labels
from fmsel.fixmatch.run.job import Job, Options, describe
from fmsel.fixmatch.run.loop import train_jobs
from fmsel.selection.split import Split
from fmsel.selection.split.make import redraw
from fmsel.training.engine.device import resolve_device

TOGETHER = 4  # runs that share a GPU, if not said otherwise


def plan_replicates(
    split: Split,
    data: ImageDataset,
    *,
    name: str,
    seed: int,
    count: int,
    root: Path = Path("runs"),
    split_name: str | None = None,
) -> list[Job]:
    """Runs of `split` with the training seeds seed, seed + 1, …

    The first one trains on `split` itself; in the others a random split is drawn anew with the
    selection seeds split.seed + 1, split.seed + 2, …

    Args:
        split: the first replicate's.
        data: the train part it belongs to.
        name: of the experiment; the folders are `<root>/<name>-seed<k>`.
        seed: the first training seed.
        count: number of replicates, at least 1.
        root: folder of the run folders.
        split_name: how comparisons call the split; its strategy by default.
    Raises:
        OptionError: `count` is below 1 or `seed` below 0.
    """
    if count < 1 or seed < 0:
        raise OptionError(f"seeds={count} must be at least 1 and seed={seed} at least 0")
    return [
        Job(
            seed=seed + k,
            split=redraw(split, data, split.seed + k) if k else split,
            out=root / f"{name}-seed{seed + k}",
            name=split_name,
        )
        for k in range(count)
    ]


def train_replicates(
    replicates: Sequence[Job],
    data: ImageDataset,
    test: ImageDataset | None,
    config: FixMatchConfig,
    options: Options,
    *,
    resume: bool = False,
    together: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Train them, yielding each with its summary as soon as it is done.

    All outputs are checked before the first run starts. Of several replicates, those that are
    finished already are kept and not yielded, so that more can join an earlier one. With `resume`
    the first folder must exist; later ones that do not yet are started.

    Args:
        replicates: one or more, with run folders of their own.
        data, test, config, options: as for `train_jobs`.
        resume: go on with stopped runs.
        together: how many at once; None is `TOGETHER` on a GPU and 1 elsewhere.
        say: told a line about each replicate that is kept.
    Raises:
        OptionError: `together` is below 1, two replicates share a folder, or `resume` and
            `options.force` are both set.
        FmselError: as `train_jobs`.
    """
    if together is None:
        together = TOGETHER if resolve_device(options.device).type == "cuda" else 1
    if resume and options.force:
        raise OptionError("--resume goes on with a run and --force replaces it; pass one of them")
    if together < 1:
        raise OptionError(f"together={together} must be at least 1")
    folders = [each.out for each in replicates]
    if twice := [out for out in folders if folders.count(out) > 1]:
        raise OptionError(f"two runs would be written to {twice[0]}; give splits different names")
    for each in replicates:
        check_labels(each.split, data, config)
    left = []
    for k, each in enumerate(replicates):
        folder, asked = RunFolder(each.out), replace(each, resume=resume)
        several = len(replicates) > 1 and not options.force
        if several and folder.finished_as(describe(asked, data, test, config, options)):
            say(f"kept {each.out}, which is finished")
            continue
        again = resume and (k == 0 or folder.begun)
        if not again:
            folder.check_new(options.force)
        left.append(replace(each, resume=again))
    yield from train_jobs(left, data, test, config, options, together)
