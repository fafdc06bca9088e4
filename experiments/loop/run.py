"""`run_loop`: all rounds of all tracks, from wherever they stopped."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fmsel.errors import ArtefactError, Interrupted
from fmsel.experiments.loop.choose import choose
from fmsel.experiments.loop.folder import LoopFolder
from fmsel.experiments.loop.label import Waiting, check_asked, read_pile, settle
from fmsel.experiments.loop.plan import Round, Stage
from fmsel.experiments.loop.results import LoopResults, read_results
from fmsel.experiments.loop.setup import Setup, needs_run
from fmsel.experiments.replicates import TOGETHER
from fmsel.fixmatch.run.job import Job
from fmsel.fixmatch.run.loop import train_jobs
from fmsel.selection.pool import Oracle
from fmsel.selection.split import make_split
from fmsel.training.engine.device import resolve_device


def run_loop(
    setup: Setup,
    out: Path,
    *,
    resume: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> LoopResults | Waiting:
    """Choose, label and train until all rounds are done, or people's answers are awaited.

    What is finished in `out` is kept, and a run under way goes on from its checkpoint. On the CPU
    the results are the same however often the loop was stopped, or killed.

    Args:
        setup: all that the loop depends on.
        out: the loop's folder.
        resume: there must be a loop in `out`.
        say: told a line about each finished round.
    Raises:
        ArtefactError: `out` holds a loop of another configuration, or a broken one; answers as
            `settle`.
        BudgetError, DataError, OptionError, OutputError: unusable input, before anything is
            written.
        Interrupted: Ctrl-C, SIGTERM or SIGUSR1 while training; all is saved.
    """
    folder = LoopFolder(out)
    _begin(setup, folder, resume)
    while work := setup.plan.next_rounds(folder.stage):
        for each in _at(work, Stage.CHOOSE):
            folder.keep(each, choose(setup, folder, each))
        unlabelled = _at(setup.plan.next_rounds(folder.stage), Stage.LABEL)
        waiting = settle(setup, folder, unlabelled) if unlabelled else None
        if ready := _at(setup.plan.next_rounds(folder.stage), Stage.TRAIN):
            _train(setup, folder, ready, say)
        elif waiting is not None:
            return waiting
    return read_results(setup, folder)


def _begin(setup: Setup, folder: LoopFolder, resume: bool) -> None:
    """Go on with the loop that is there, or begin one with its first choices.

    They are made before anything is written, so that bad input leaves nothing behind.
    """
    if folder.begun:
        folder.check_same(setup.as_dict())
        return
    if resume:
        raise ArtefactError(f"there is no loop to resume in {folder.path}; leave out --resume")
    folder.check_new()
    _check_last_budget(setup)
    first = {each: choose(setup, folder, each) for each in setup.plan.first}
    if setup.answers is not None:
        check_asked(list(first.values()), setup.data, read_pile(setup.answers))
    folder.begin(setup.as_dict())
    for each, split in first.items():
        folder.keep(each, split)


def _check_last_budget(setup: Setup) -> None:
    """Refuse budgets that the smallest class cannot give; others were compared with the images."""
    for each in setup.used:
        if isinstance(each, Oracle) and not needs_run(each):
            make_split(
                setup.data,
                each,
                batch_size=setup.budgets[-1],
                scores=setup.scores,
                scores_file=setup.scores_file,
                known=setup.embedding,
            )


def _at(work: dict[Round, Stage], stage: Stage) -> list[Round]:
    return [each for each, now in work.items() if now is stage]


def _train(
    setup: Setup, folder: LoopFolder, rounds: Sequence[Round], say: Callable[[str], None]
) -> None:
    jobs = {folder.run(each): each for each in rounds}
    total = len(setup.plan.every)
    options = replace(setup.options, keep_history=setup.keep_history, force=True)
    on_gpu = resolve_device(options.device).type == "cuda"
    try:
        for job, summary in train_jobs(
            [_job(setup, folder, each) for each in rounds],
            setup.data,
            setup.test,
            setup.config,
            options,
            TOGETHER if on_gpu else 1,
        ):
            accuracy = summary["accuracy"]
            said = "not evaluated" if accuracy is None else f"accuracy {accuracy:.1%}"
            say(
                f"{jobs[job.out]}: {len(job.split)} labels, {said}, {summary['seconds']:.0f} s; "
                f"{_done(setup, folder)} of {total} rounds done"
            )
    except Interrupted as stop:
        raise Interrupted(
            f"the loop is saved in {folder.path} with {_done(setup, folder)} of {total} rounds "
            "finished; give the same command to go on"
        ) from stop


def _done(setup: Setup, folder: LoopFolder) -> int:
    return sum(folder.stage(each) is Stage.DONE for each in setup.plan.every)


def _job(setup: Setup, folder: LoopFolder, each: Round) -> Job:
    before = setup.plan.before(each)
    return Job(
        split=folder.split(each),
        out=folder.run(each),
        seed=each.seed,
        name=each.strategy,
        resume=folder.trains(each),
        init_from=folder.run(before[-1]) if setup.warm_start and before else None,
    )
