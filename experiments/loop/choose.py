"""The choice of one round: new images beside the labels so far."""

from dataclasses import replace

import numpy as np

from fmsel.datasets import ImageDataset
from fmsel.datasets.images.dataset import UNKNOWN
from fmsel.errors import ArtefactError
from fmsel.experiments.loop.folder import LoopFolder
from fmsel.experiments.loop.plan import Round
from fmsel.experiments.loop.setup import Setup, needs_run, reads_embedding
from fmsel.fixmatch.use.outputs import run_outputs
from fmsel.selection.pool import Strategy
from fmsel.selection.split import Split, make_split
from fmsel.selection.split.artefact import count_labels
from fmsel.selection.split.known import Known


def choose(setup: Setup, folder: LoopFolder, each: Round, after: Split | None = None) -> Split:
    """The labels of the rounds before and the images that this round adds.

    Without people, the data set's labels are theirs at once; with people they are awaited (-1).

    Args:
        each: a round whose predecessors in its track are done, as far as its strategy reads them.
        after: the choice of the round before, where that is not in the folder yet.
    Raises:
        ArtefactError: where labels are there at once, all of them are of one class.
        BudgetError, DataError, OptionError: as `make_split`.
    """
    strategy, before = setup.strategy(each.strategy), setup.plan.before(each)
    known = _known(setup, folder, strategy, before[-1] if before else None)
    if after is not None:
        known = replace(known, held=after)
    elif before:
        known = replace(known, held=folder.split(before[-1]), excluded=folder.skipped(before))
    known = known.heeding(setup.heeds)
    held = len(known.held) if known.held is not None else 0
    made = make_split(
        setup.data,
        strategy,
        batch_size=setup.budgets[each.number] - held,
        seed=each.selection_seed,
        scores=setup.scores,
        scores_file=setup.scores_file,
        known=known,
    )
    if setup.answers is not None:
        return _awaited(made, setup.data)
    check_two_classes(made, setup.data, each)
    return made


def check_two_classes(split: Split, data: ImageDataset, each: Round) -> None:
    """ArtefactError where there is nothing to tell apart."""
    if len(found := np.unique(split.given_labels(data))) < 2:
        name = data.class_names[found[0]]
        raise ArtefactError(
            f"all {len(split)} labels of {each} are of one class, {name!r}, and at least two are "
            "needed to train; begin with a larger first number of --budgets, in another --out"
        )


def _known(setup: Setup, folder: LoopFolder, strategy: Strategy, before: Round | None) -> Known:
    """The evidence that a strategy reads, and no other."""
    if needs_run(strategy) and before is not None:
        known = run_outputs(folder.run(before), setup.data, device=setup.options.device).known
        run = {**known.provenance["run"], "round": before.folder.as_posix()}
        return replace(known, provenance={"run": run})
    if reads_embedding(strategy) and setup.embedding is not None:
        return setup.embedding
    return Known()


def _awaited(split: Split, data: ImageDataset) -> Split:
    """The same images, with the labels that people gave and none of the data set's."""
    labels = [UNKNOWN] * len(split) if split.labels is None else list(split.labels)
    counts = count_labels(np.array(labels, dtype=np.int64), data.class_names)
    return replace(split, labels=labels, class_counts=counts)
