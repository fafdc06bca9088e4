"""Train the networks of an ensemble: on a CPU one a core at a time, on a GPU one after another.

Small networks gain little from a second thread each, and lose much where other work shares the
cores (every layer waits for the slower thread), so each gets a single one.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import torch

from fmsel.metrics.evidence.network.store import NetworkOutputs

Job = tuple[int, int]  # repetition, fold
Train = Callable[[Job, Callable[[int], None]], NetworkOutputs]


class _Stopped(Exception):
    """Raised inside a worker after an interruption."""


def train_side_by_side(
    jobs: Sequence[Job], train: Train, advance: Callable[[int], None], device: torch.device
) -> dict[Job, NetworkOutputs]:
    """Run `train(job, advance)` for every job; results do not depend on how many run at once.

    An interruption stops all workers at their next batch and is raised again.
    """
    if device.type != "cpu":
        return {job: train(job, advance) for job in jobs}
    stop = Event()

    def count(images: int) -> None:
        if stop.is_set():
            raise _Stopped
        advance(images)

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        futures = {job: pool.submit(train, job, count) for job in jobs}
        return {job: future.result() for job, future in futures.items()}
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
