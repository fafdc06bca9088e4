"""`run_loop`: all rounds of all tracks, from wherever they stopped."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fmsel.errors import Interrupted
from fmsel.experiments.loop.beforehand import choose_beforehand
from fmsel.experiments.loop.choose import choose
from fmsel.experiments.loop.folder import LoopFolder
from fmsel.experiments.loop.label import Waiting, notes_on_answers, settle
from fmsel.experiments.loop.plan import Round, Stage
from fmsel.experiments.loop.results import LoopResults, read_results
from fmsel.experiments.loop.setup import Setup
from fmsel.experiments.replicates import TOGETHER
from fmsel.fixmatch.run.job import Job
from fmsel.fixmatch.run.loop import train_jobs
from fmsel.selection.split import Split
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
        out: the loop's folder; a loop in it may have fewer rounds or fewer seeds than `setup`.
        resume: there must be a loop in `out`.
        say: told a line about each round that people labelled, and about each finished one.
    Raises:
        ArtefactError: `out` holds a loop of another configuration, or a broken one; answers as
            `settle`.
        BudgetError, DataError, OptionError, OutputError: unusable input, before anything is
            written; or another process is at work in `out` (OutputError).
        Interrupted: Ctrl-C, SIGTERM, SIGUSR1 or SIGHUP while training; all is saved.
    """
    folder = LoopFolder(out)
    made = choose_beforehand(setup, folder, resume)
    with folder.locked():
        _begin(setup, folder, made)
        if setup.plan.next_rounds(folder.stage) and (warning := _unmeasured(setup)):
            say(warning)
        done = _rounds(setup, folder, say)
        for note in notes_on_answers(setup, folder) if setup.answers is not None else ():
            say(note)
        return done


def _rounds(setup: Setup, folder: LoopFolder, say: Callable[[str], None]) -> LoopResults | Waiting:
    """All that is to be done until people's answers are awaited, or nothing is."""
    while work := setup.plan.next_rounds(folder.stage):
        for each in _at(work, Stage.CHOOSE):
            folder.keep(each, choose(setup, folder, each))
        unlabelled = _at(setup.plan.next_rounds(folder.stage), Stage.LABEL)
        waiting = settle(setup, folder, unlabelled, say) if unlabelled else None
        if ready := _at(setup.plan.next_rounds(folder.stage), Stage.TRAIN):
            _train(setup, folder, ready, say)
        elif waiting is not None:
            return waiting
    return read_results(setup, folder)


def _begin(setup: Setup, folder: LoopFolder, made: dict[Round, Split]) -> None:
    """Write the configuration where it is new or longer, and the choices made by now."""
    record = setup.as_dict()
    if not folder.begun or folder.extends(record):  # another process may have begun meanwhile
        folder.begin(record)
    for each, split in made.items():
        if folder.stage(each) is Stage.CHOOSE:
            folder.keep(each, split)


def _unmeasured(setup: Setup) -> str | None:
    """A warning for people who are about to label for nothing that is measured."""
    measured = setup.test is not None and setup.test.labelled
    if setup.answers is None or measured:
        return None
    return (
        f"no accuracy will be measured, as {setup.data.name} has no labelled test part; to have "
        "one, put the images to label into PATH/train/ and some labelled ones into "
        "PATH/test/<class>/ before anybody labels, and begin the loop in another --out"
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
