"""`Dask`: passes over all rows on the workers of a Dask cluster, by `dask.distributed`."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fmsel.artefacts import versions
from fmsel.errors import FmselError, OptionError
from fmsel.selection.geometry.backend import Result, Rows

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"  # in place of an address: a cluster on this machine
WAIT = 30  # seconds for a scheduler to answer, or for a worker to be there
LOSSES = 3  # times that one pass may lose what the workers share
SAME = ("python", "fmsel", "numpy", "faiss-cpu")  # versions that workers must share


class ClusterError(FmselError, RuntimeError):
    """A cluster that stopped in the middle."""


class Dask:
    """Blocks on the workers of a cluster; what a lost worker had is done again.

    Every worker is sent the function and the rows once: of `ShardedRows` only the paths.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._rows: tuple[Any, Any] = (None, None)  # those sent last, and where they are

    def map(
        self, function: Callable[[Rows, slice], Result], rows: Rows, parts: Iterable[slice]
    ) -> Iterator[Result]:
        """As in `Backend`.

        Raises:
            ClusterError: a block ends every worker that it is given to, or no worker is left.
            Exception: what the function raised.
        """
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        left, losses = deque(parts), 0
        while left:
            try:
                for future in self._submit(function, rows, list(left)):
                    result = future.result()
                    left.popleft()
                    yield result
            except (CancelledError, CommClosedError, KilledWorker, TimeoutError) as error:
                losses += 1
                if isinstance(error, KilledWorker) or losses > LOSSES:
                    raise ClusterError(
                        f"the Dask cluster lost workers ({error}); start it again, with more "
                        "memory for each worker where that was the reason, and repeat the command"
                    ) from error
                self._rows = None, None  # what only lost workers had is sent again

    def _submit(self, function: Any, rows: Any, parts: list[slice]) -> Iterator[Any]:
        """The futures in order; each is forgotten once the next is asked for."""
        if self._rows[0] is not rows:
            self._rows = rows, self._send(rows)
        shared = {"function": self._send(function), "rows": self._rows[1]}
        futures = deque(self._client.map(_call, parts, pure=False, **shared))
        while futures:
            yield futures.popleft()

    def _send(self, value: Any) -> Any:
        """The value as the result of a task, which the scheduler repeats if its worker is lost.

        `Client.scatter` would send it without one, and waits for ever for a worker that dies then.
        """
        self._client.wait_for_workers(1, timeout=WAIT)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # rows that are in memory
            return self._client.submit(_same, value, pure=False)


def _same(value: Any) -> Any:
    return value


def _call(part: slice, function: Callable[[Rows, slice], Result], rows: Rows) -> Result:
    return function(rows, part)


@contextmanager
def dask_at(address: str) -> Iterator[Dask]:
    """Connect to a scheduler, such as tcp://10.0.0.1:8786; "local" starts a worker a core here.

    Raises:
        OptionError: `distributed` is not installed, nobody answers, or the workers cannot do the
            same arithmetic.
    """
    try:
        from distributed import Client
    except ImportError:
        raise OptionError("--dask needs one more package; pip install 'fmsel[dask]'") from None
    if address == LOCAL:
        with _local_cluster() as cluster, Client(cluster) as client:
            yield Dask(client)
        return
    try:
        client = Client(address, timeout=WAIT)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"no Dask scheduler answers at {address!r} ({error}); start one with `dask scheduler` "
            "and give its address, such as tcp://10.0.0.1:8786, or `local`"
        ) from error
    with client:
        check_workers(client, address)
        yield Dask(client)


def _local_cluster() -> Any:
    import logging
    import os

    from distributed import LocalCluster

    # Memory-mapped files count as memory of a process, so that a limit would stop healthy workers.
    return LocalCluster(
        n_workers=len(os.sched_getaffinity(0)),
        threads_per_worker=1,
        memory_limit=0,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.ERROR,
    )


def check_workers(client: "Client", address: str) -> None:
    """OptionError where there are no workers, or one has other versions than this process."""
    try:
        found = client.run(versions, "faiss-cpu")
    except Exception as error:  # whatever a worker without fmsel raises
        raise OptionError(
            f"the workers at {address} cannot run fmsel ({error}); install the same version there"
        ) from error
    if not found:
        raise OptionError(f"the scheduler at {address} has no workers; start some: `dask worker`")
    here = versions("faiss-cpu")
    for worker, there in found.items():
        for name in SAME:
            if there[name] != here[name]:
                raise OptionError(
                    f"the worker {worker} has {name} {there[name]} and this machine {here[name]}, "
                    "so the choice could differ; install the same versions everywhere"
                )
