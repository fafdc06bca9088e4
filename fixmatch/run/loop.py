"""`train`: from a split to a run folder; `train_jobs`: several runs at once."""

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fmsel.datasets import ImageDataset
from fmsel.errors import FmselError, Interrupted
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run.events import EventFiles
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.inputs import prepare_inputs
from fmsel.fixmatch.run.job import Job, Options, describe
from fmsel.fixmatch.run.meters import collapsed
from fmsel.fixmatch.run.progress import LiveLine, LiveLines, live_lines
from fmsel.fixmatch.run.session import Session
from fmsel.fixmatch.run.start import load_start
from fmsel.fixmatch.status import RunStatus
from fmsel.selection.split import Split
from fmsel.training.engine.device import (
    configure_backends,
    own_stream,
    resolve_device,
    resolve_execution,
    resolve_precision,
)
from fmsel.training.engine.distributed import World, joined
from fmsel.training.engine.memory import let_go, memory_errors
from fmsel.training.engine.signals import StopFlag, stop_flag

# The device is looked at, for the live line and for bad losses, after so many seconds or steps.
LOOK_EVERY = 0.5
LOOK_STEPS = 100
CHECKPOINT_SECONDS = 60.0  # the most that a killed run loses, on top of one evaluation
# A sound start may look like a collapse: on digits `smoke` does for up to 30 steps, with the rules
# that give every image a pseudo-label from the first one on.
START_STEPS = 50


def train(
    split: Split,
    data: ImageDataset,
    test: ImageDataset | None,
    config: FixMatchConfig,
    out: Path,
    *,
    seed: int,
    name: str | None = None,
    resume: bool = False,
    init_from: Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train on a split's labels and all images of `data`; write the run folder `out`.

    The unlabelled set is the whole train part, labelled images included (reference code). On the
    CPU equal arguments give equal weights, however often the run was stopped and resumed.

    Args:
        split: which images have labels.
        data: the train part it belongs to; square images.
        test: the test part; without it, or without labels in it, no accuracy is measured.
        config: the recipe.
        out: the run folder.
        seed: the training seed, 0 or more.
        name: how comparisons call the split; its strategy by default.
        resume: go on with the run in `out`.
        init_from: the folder of a run to start from, as in `Job`.
        options: fields of `Options`.
    Returns:
        What summary.json holds: accuracy (the median of the last EMA evaluations), accuracy_of
        (their number), final_ema_accuracy, steps, seconds, it_per_s, completed.
    Raises:
        ArtefactError, DataError, DeviceError, OptionError, OutputError: unusable input.
        DeviceError: out of memory; the last checkpoint stays.
        FmselError: a number became nan or infinite, or another process is gone.
        Interrupted: Ctrl-C, SIGTERM, SIGUSR1 or SIGHUP; the state was saved.
    """
    job = Job(split=split, out=out, seed=seed, name=name, resume=resume, init_from=init_from)
    [(_, summary)] = train_jobs([job], data, test, config, Options(**options))
    return summary


def train_jobs(
    jobs: Sequence[Job],
    data: ImageDataset,
    test: ImageDataset | None,
    config: FixMatchConfig,
    options: Options,
    together: int = 1,
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Train several runs on one device, `together` at a time, yielding each as it ends.

    Runs that share a GPU take turns step by step, each on a stream of its own, so that one fills
    what another leaves idle; each computes what it would alone. A signal saves and stops all of
    them; where one fails, those under way go on and no other begins. Processes started by torchrun
    share the steps of one run at a time; the first one writes and shows it. Runs that are left
    otherwise, by a second Ctrl-C before they were saved, keep their last checkpoint and say so.

    Args:
        jobs: with run folders of their own.
        data, test, config: as for `train`, shared by all.
        options: shared by all.
        together: 1 or more.
    Raises:
        as `train`, once no run is under way any more.
    """
    waiting, active = deque(jobs), list[Active]()
    failures: list[FmselError] = []
    with (
        stop_flag() as stop,
        joined(options.device) as world,
        live_lines(options.progress and world.main) as lines,
        _status_of_the_left(active),
    ):
        if world.size > 1:
            options, together = _shared(options), 1
        while active or (waiting and not failures):
            if waiting and not failures and len(active) < together:
                job = waiting.popleft()
                status = RunStatus(job.out)
                course = _course(job, data, test, config, options, world, stop, lines, status)
                scope = own_stream(resolve_device(options.device))
                active.append(Active(job, course, scope, status))
                if len(active) < together and waiting:
                    continue
            for each in list(active):
                try:
                    with (
                        each.scope(),
                        memory_errors(_remedy(config)),
                        each.status.hears_warnings(),
                    ):
                        next(each.course)
                except StopIteration as end:
                    active.remove(each)
                    yield each.job, end.value
                except FmselError as error:
                    active.remove(each)
                    if not isinstance(error, Interrupted):
                        each.status.end("failed", str(error))
                        if len(jobs) > 1 and str(each.job.out) not in str(error):
                            error.args = (f"in {each.job.out}: {error}",)
                    let_go(error)  # the others may need its memory
                    failures.append(error)
    if failures:
        raise _together(failures)


@contextmanager
def _status_of_the_left(active: Sequence["Active"]) -> Iterator[None]:
    """Whatever ends the loop before its runs, none says that it is running or holds its folder."""
    try:
        yield
    except BaseException as end:  # a second Ctrl-C, a caller that wants no more, a mistake of ours
        state, why = "stopped", "stopped before it was saved; the last checkpoint stays"
        if isinstance(end, Exception):
            state, why = "failed", f"{type(end).__name__}: {end}"
        for each in active:
            each.status.end(state, why)
            each.course.close()
        raise


def _together(failures: Sequence[FmselError]) -> FmselError:
    """The one to raise; bad news before the news of a stop."""
    bad = [each for each in failures if not isinstance(each, Interrupted)]
    if bad or len(failures) == 1:
        return [*bad, *failures][0]
    return Interrupted(
        f"{len(failures)} runs are saved; give the same command with --resume to go on"
    )


Course = Generator[None, None, dict[str, Any]]  # a step at a time, then the summary
Scope = Callable[[], AbstractContextManager[object]]


class Active(NamedTuple):
    """A run under way."""

    job: Job
    course: Course
    scope: Scope
    status: RunStatus


def _shared(options: Options) -> Options:
    """Steps with messages between processes are not recorded as graphs, nor compiled."""
    if resolve_execution(options.execution, resolve_device(options.device)) != "eager":
        warnings.warn("several processes run their steps in mode eager", stacklevel=2)
    return replace(options, execution="eager")


def _remedy(config: FixMatchConfig) -> str:
    return (
        f"lower --batch ({config.batch}) or --mu ({config.mu}), take a narrower --arch than "
        f"{config.arch}, or train fewer runs at once; what was saved stays"
    )


def _course(
    job: Job,
    data: ImageDataset,
    test: ImageDataset | None,
    config: FixMatchConfig,
    options: Options,
    world: World,
    stop: StopFlag,
    lines: LiveLines,
    status: RunStatus,
) -> Course:
    events = EventFiles(job.out) if options.tensorboard and world.main else None
    folder = RunFolder(job.out, events)
    with ExitStack() as held:
        with world.agreed():
            if not job.resume and world.main:
                folder.check_new(options.force)
            target = resolve_device(options.device)
            configure_backends(target, options.deterministic)
            inputs = prepare_inputs(job.split, data, test, target)
            description = describe(job, data, test, config, options)
            if job.resume:
                folder.check_same(description)
                if world.main:
                    held.enter_context(folder.locked())
            start = None
            if job.init_from and not (job.resume and folder.started_from()):
                start = load_start(job.init_from, data, config).weights
            session = Session(
                inputs,
                data.weak,
                config,
                seed=job.seed,
                supervised_only=options.supervised_only,
                precision=resolve_precision(options.precision, target),
                execution=resolve_execution(options.execution, target),
                world=world,
                start=start,
                keep_history=options.keep_history,
            )
            if job.resume and (saved := folder.restore(target)):
                session.restore(*saved)
        with world.agreed():
            if world.main:
                if not job.resume:
                    held.enter_context(folder.locked())
                    if not options.force:
                        folder.check_new(False)  # another may have begun, and ended, meanwhile
                _begin(folder, job, session, description)
                status.begin(
                    step=session.step,
                    steps=config.steps,
                    seconds=session.clock(),
                    resumed=job.resume,
                )
        line = lines.add(config.steps, session.step)
        yield from run(session, folder, stop, line, status)
        summary = session.summary()
        with world.agreed():
            if world.main:
                folder.finish(summary)
                status.end("finished", step=session.step, seconds=summary["seconds"])
        return summary


def _begin(folder: RunFolder, job: Job, session: Session, description: dict[str, Any]) -> None:
    if job.resume:
        folder.go_on(job.split, session.rows)
    else:
        folder.begin(description, job.split)


def run(
    session: Session, folder: RunFolder, stop: StopFlag, line: LiveLine, status: RunStatus
) -> Generator[None, None, None]:
    """Step, evaluate and save until the run is done, yielding after each step.

    Raises:
        FmselError: a number became nan or infinite; the last good checkpoint stays.
        Interrupted: `stop` was set; the state was saved.
    """
    looked_at = saved_at = time.perf_counter()
    looked_step, world = session.step, session.world

    def stopped() -> bool:
        status.beat("evaluating")
        return world.any(stop.requested)

    while True:
        if session.evaluation_due and session.evaluate(stopped):
            _save(session, folder)
            saved_at = time.perf_counter()
            _warn_of_collapse(session)
        if world.any(stop.requested):
            with world.agreed():
                _save(session, folder)
            saved = (
                f"the run is saved at step {session.step:,} of {session.config.steps:,} in "
                f"{folder.path}; give the same command with --resume to go on"
            )
            status.end("stopped", saved, step=session.step, seconds=session.clock())
            raise Interrupted(saved)
        if session.done:
            last = session.rows[-1]
            line.update(session.step, last["it_per_s"], last["mask_rate"], last["ema_accuracy"])
            return
        session.advance()
        now = time.perf_counter()
        due = now - looked_at >= LOOK_EVERY or session.step - looked_step >= LOOK_STEPS
        if world.any(due):
            rate = (session.step - looked_step) / (now - looked_at)
            looked_at, looked_step = now, session.step
            _look(session, line, status, rate)
        if now - saved_at >= CHECKPOINT_SECONDS:
            _save(session, folder)
            saved_at = time.perf_counter()
        yield


def _look(session: Session, line: LiveLine, status: RunStatus, rate: float) -> None:
    session.check_finite()
    ema = session.rows[-1]["ema_accuracy"] if session.rows else None
    means = session.meters.read(session.supervised)
    line.update(session.step, rate, means.mask_rate, ema)
    status.update(step=session.step, seconds=session.clock(), it_per_s=rate, means=means)


def _save(session: Session, folder: RunFolder) -> None:
    session.check_finite()
    if session.world.main:
        folder.save(*session.save(), session.rows)


def _warn_of_collapse(session: Session) -> None:
    """At each evaluation where `collapsed` begins to hold, or still does after `START_STEPS`."""
    count = session.inputs.n_classes
    *earlier, now = [
        row["step"] > START_STEPS and collapsed(row["mask_rate"], row["largest_class_share"], count)
        for row in session.rows
    ]
    if now and not any(earlier[-1:]):
        row = session.rows[-1]
        warnings.warn(
            f"at step {row['step']:,} one of {count} classes has {row['largest_class_share']:.0%} "
            f"of the pseudo-labels, and {row['mask_rate']:.0%} of the images have one; the "
            "training may have collapsed, so look at the accuracy, or try a smaller --lr or "
            "another --rule",
            stacklevel=2,
        )
