"""All that can be chosen or refused before a loop's first run, and before anything is written."""

from itertools import pairwise

import torch

from fmsel.errors import ArtefactError, BudgetError
from fmsel.experiments.loop.choose import choose
from fmsel.experiments.loop.folder import LoopFolder
from fmsel.experiments.loop.pile import read_pile
from fmsel.experiments.loop.plan import Round, Stage
from fmsel.experiments.loop.setup import Setup, needs_run
from fmsel.fixmatch.run.inputs import check_labels, check_sizes
from fmsel.selection.split import Split
from fmsel.training.networks.build import build_network


def choose_beforehand(setup: Setup, folder: LoopFolder, resume: bool) -> dict[Round, Split]:
    """The choices that no run and no answer comes before, of rounds that have none yet.

    Without people that is every round of a strategy that reads no run, so that one which finds too
    few images for some round says so now.

    Args:
        setup: all that the loop depends on.
        folder: with a loop that is new, there, or shorter than `setup`.
        resume: there must be one.
    Raises:
        ArtefactError: another loop, or a broken one; labels or answers that are of no use.
        BudgetError: fewer images than some round asks for.
        DataError, DeviceError, OptionError: images, a device or a recipe that cannot be trained on.
        OutputError: the folder holds something else.
    """
    if not folder.begun:
        if resume:
            raise ArtefactError(f"there is no loop to resume in {folder.path}; leave out --resume")
        folder.check_new()
    record = setup.as_dict()  # refuses a device
    new = not folder.begun or folder.extends(record)
    if new:
        _check_training(setup)
        _check_new_budgets(setup, folder)
    made = _choices(setup, folder, new)
    if setup.answers is None:
        for split in made.values():
            check_labels(split, setup.data, setup.config)
        return made
    first = {each: split for each, split in made.items() if not each.number}
    if not folder.begun:
        read_pile(setup.answers, (), setup.data, list(first.values()))
    return first


def _choices(setup: Setup, folder: LoopFolder, new: bool) -> dict[Round, Split]:
    """Those of rounds that have none, as far as they can be told.

    Where people answer, all but the first are on trial: as if they knew every image. They are made
    only where a strategy may find too few images, and where the loop is `new` in some part.
    """
    made: dict[Round, Split] = {}
    for track in setup.plan.tracks:
        after = None
        for each in track:
            strategy, stage = setup.strategy(each.strategy), folder.stage(each)
            on_trial = each.number and setup.answers is not None
            if (each.number and needs_run(strategy)) or stage is Stage.LABEL:
                break
            if on_trial and (strategy.EXHAUSTIVE or not new):
                break
            if stage is Stage.CHOOSE:
                made[each] = made.get(each) or _choose(setup, folder, each, after)
            after = made.get(each)
    return made


def _choose(setup: Setup, folder: LoopFolder, each: Round, after: Split | None) -> Split:
    """As `choose`; of what is too few, it says for which round."""
    try:
        return choose(setup, folder, each, after)
    except BudgetError as error:
        raise BudgetError(f"{each}, {setup.budgets[each.number]} labels in all: {error}") from error


def _check_training(setup: Setup) -> None:
    """Refuse images that the network cannot be trained on."""
    check_sizes(setup.data, setup.test)
    with torch.device("meta"):  # without memory
        build_network(
            setup.config.arch,
            n_classes=setup.data.n_classes,
            image_side=setup.data.images.shape[1],
            bn_momentum=setup.config.bn_momentum,
            seed=0,
        )


def _check_new_budgets(setup: Setup, folder: LoopFolder) -> None:
    """Refuse to go on to fewer labels than there are, as late ones may exceed their budget."""
    for track in setup.plan.tracks:
        for before, each in pairwise(track):
            if folder.stage(before) in (Stage.TRAIN, Stage.DONE):
                held, budget = len(folder.split(before)), setup.budgets[each.number]
                if held >= budget:
                    raise BudgetError(
                        f"{before} has {held} labels, and the next number of --budgets is {budget};"
                        f" go on with a number above {held}"
                    )
