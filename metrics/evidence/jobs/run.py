"""Jobs of a kind of evidence (train a network, attack one): cached, side by side, interruptible.

On a CPU one job a core runs at a time, on a GPU one after another. Small networks gain little from
a second thread each, and lose much where other work shares the cores (every layer waits for the
slower thread), so each job gets a single one.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fmsel.artefacts import sha256_json
from fmsel.datasets import ImageDataset
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.jobs.store import load_arrays, save_arrays
from fmsel.progress import progress_bar

Arrays = Mapping[str, npt.NDArray[Any]]
Advance = Callable[[float], None]
Work = Callable[[Job, Advance], Arrays]


class _Stopped(Exception):
    """Raised inside a worker after an interruption."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """The outputs of all jobs of a plan.

    Attributes:
        arrays: job -> what it gave.
        from_cache: number of jobs that had been finished before.
        seconds: summed over the jobs, each by its own clock, those from the cache too.
    """

    arrays: Mapping[Job, Arrays]
    from_cache: int
    seconds: float


def job_names(
    jobs: Sequence[Job], data: ImageDataset, settings: Settings, **key: Any
) -> dict[Job, str]:
    """The cache name of each job: a hash of the images, labels, place, seed, `key` and job.

    Args:
        key: all else that a job's outputs depend on, JSON-able: its kind, recipe, and a number to
            raise when the code changes.
    """
    device, precision = settings.place()
    shared = {
        "images": data.images_sha256,
        "labels": data.labels_sha256,
        "weak": [data.weak.flip, data.weak.shift],
        "seed": settings.seed,
        "device": device.type,
        "precision": precision,
        **key,
    }
    return {job: sha256_json({**shared, "job": list(job)}) for job in jobs}


def run_jobs(title: str, plan: Plan, work: Work, settings: Settings) -> Finished:
    """Load the finished jobs of a plan from the cache, and do the others.

    Args:
        title: of the progress bar, such as "crossfit".
        plan: its `names` say where each job is cached, its `work` how long each is.
        work: does one job and returns its arrays, telling `advance` the image steps done; called
            from several threads at once on a CPU. Results must not depend on how many run at once.
        settings: cache, device.
    """
    done: dict[Job, Arrays] = {}
    for job in plan.work:
        if settings.cache and (found := load_arrays(plan.names[job])) is not None:
            done[job] = found
    missing = [job for job in plan.work if job not in done]
    from_cache = len(done)
    if missing:
        settings.say(f"{title}: {len(missing)} of {len(plan.work)} jobs to do: {plan.what}")
    else:
        settings.say(f"{title}: from the cache: {plan.what}")

    def finish(job: Job, advance: Advance) -> Arrays:
        start = time.perf_counter()
        arrays = {**work(job, advance), "seconds": np.array(time.perf_counter() - start)}
        if settings.cache:
            save_arrays(plan.names[job], arrays)
        return arrays

    steps = sum(plan.work[job] for job in missing)
    with progress_bar(title, steps, "image steps") as bar:
        done |= _side_by_side(missing, finish, bar, settings.place()[0])
    return Finished(
        arrays=done,
        from_cache=from_cache,
        seconds=round(sum(float(each["seconds"]) for each in done.values()), 1),
    )


@contextmanager
def job_threads(device: torch.device) -> Iterator[Executor]:
    """A pool that runs a job a core on a CPU, and one job at a time on a GPU."""
    threads = torch.get_num_threads()
    workers = threads if device.type == "cpu" else 1
    own = 1 if device.type == "cpu" else threads
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(own,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _side_by_side(
    jobs: Sequence[Job], work: Work, advance: Advance, device: torch.device
) -> dict[Job, Arrays]:
    """Run `work(job, advance)` for every job; an interruption stops all at their next batch."""
    stop = Event()

    def count(steps: float) -> None:
        if stop.is_set():
            raise _Stopped
        advance(steps)

    with job_threads(device) as pool:
        try:
            futures = {job: pool.submit(work, job, count) for job in jobs}
            return {job: future.result() for job, future in futures.items()}
        except BaseException:
            stop.set()
            raise
