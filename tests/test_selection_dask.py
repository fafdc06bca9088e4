"""The same choice by one process from memory, from shards, and by the workers of a cluster."""

import logging
import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from dask import config as dask_config
from dask_tasks import deadly, failing, once_killed, shifted
from distributed import Client, LocalCluster

from fmsel.artefacts import versions
from fmsel.embeddings.vectors.shards import ShardedRows
from fmsel.errors import ArtefactError, OptionError
from fmsel.selection import rdss
from fmsel.selection.coverage import greedy, purity
from fmsel.selection.geometry import dask_backend, kmeans, points, vectors
from fmsel.selection.geometry.backend import Backend, Local
from fmsel.selection.geometry.dask_backend import ClusterError, Dask, dask_at
from fmsel.selection.geometry.points import UnitRows, population_directions, population_units
from fmsel.selection.pool import Pool, Strategy, strategy_class, strategy_names
from fmsel.selection.rdss import Rdss

N = 600
DISTRIBUTED = [name for name in strategy_names() if strategy_class(name).DISTRIBUTED]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two worker processes; nothing beyond the loopback address."""
    with local_cluster(2) as started:
        yield started


@pytest.fixture(scope="module")
def dask(cluster: LocalCluster) -> Iterator[Dask]:
    with Client(cluster) as client:
        yield Dask(client)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks, and the ways of large pools, with 600 images."""
    monkeypatch.setattr(vectors, "MEMORY", 2**13)
    monkeypatch.setattr(rdss, "SMALLER", 2)
    monkeypatch.setattr(points, "CHUNK", 7)
    monkeypatch.setattr(rdss, "EXACT_UP_TO", 300)
    monkeypatch.setattr(rdss, "ANCHORS", 100)
    monkeypatch.setattr(greedy, "PAIRS", 100**2)
    monkeypatch.setattr(greedy, "TARGETS", 400)
    monkeypatch.setattr(purity, "BALLS", 150)
    monkeypatch.setattr(kmeans, "TRAIN_ON", 500)


def rows(seed: int, n: int = N) -> np.ndarray:
    """Rows around 5 centres, of all lengths; one of zeros and a copy of another."""
    rng = np.random.default_rng(seed)
    around = 2 * rng.normal(size=(5, 12))[rng.integers(0, 5, n)] + rng.normal(size=(n, 12))
    features = np.asarray(around * rng.uniform(1, 3, (n, 1)), dtype=np.float32)
    features[7], features[9] = 0, features[8]
    return features


def sharded(folder: Path, features: np.ndarray, cuts: tuple[int, ...] = (130, 131, 400)) -> Any:
    paths = []
    for number, part in enumerate(np.split(features, cuts)):
        paths.append(folder / f"part-{number}.npy")
        np.save(paths[-1], part)
    return ShardedRows.open(paths)


def pool_of(features: Any, backend: Backend | None = None, **known: Any) -> Pool:
    rng = np.random.default_rng(1)
    kept = {"class_names": tuple("abcde"), "labeled": np.array([3, 500])} | known
    return Pool(
        n=N,
        features=features,
        probabilities=rng.dirichlet(np.ones(5), N),
        backend=backend or Local(),
        **kept,
    )


def strategy(name: str) -> Strategy:
    return strategy_class(name)()


def test_what_is_distributed() -> None:
    expected = "density_mix facility_location herding kmeans_centres maxherding probcover rdss"
    assert sorted(DISTRIBUTED) == sorted([*expected.split(), "typiclust", "uherding"])


@pytest.mark.parametrize("name", DISTRIBUTED)
@pytest.mark.parametrize("some", [False, True], ids=["all", "candidates"])
@pytest.mark.usefixtures("small_blocks")
def test_the_choice_is_that_of_one_machine(
    name: str, some: bool, dask: Dask, tmp_path: Path, seed: int
) -> None:
    features = rows(seed)
    known: dict[str, Any] = (
        {"candidates": np.random.default_rng(seed).permutation(N)[:450]} if some else {}
    )
    shards = sharded(tmp_path, features)
    alone = strategy(name).query(pool_of(features, **known), batch_size=12)
    read = strategy(name).query(pool_of(shards, **known), batch_size=12)
    apart = strategy(name).query(pool_of(shards, dask, **known), batch_size=12)
    sent = strategy(name).query(pool_of(features, dask, **known), batch_size=12)
    np.testing.assert_array_equal(alone, read)
    np.testing.assert_array_equal(alone, apart)
    np.testing.assert_array_equal(alone, sent)


class Counting:
    """This process, and how many blocks each pass had."""

    def __init__(self) -> None:
        self.parts: list[int] = []

    def map(self, function: Any, rows: Any, parts: Any) -> Iterator[Any]:
        known = list(parts)
        self.parts.append(len(known))
        return Local().map(function, rows, known)


@pytest.mark.parametrize("name", DISTRIBUTED)
@pytest.mark.usefixtures("small_blocks")
def test_passes_run_on_the_backend_in_many_blocks(name: str, tmp_path: Path) -> None:
    for features in (rows(0), sharded(tmp_path, rows(0))):
        counting = Counting()
        strategy(name).query(pool_of(features, counting), batch_size=12)
        assert max(counting.parts, default=0) > 1


@pytest.mark.parametrize("name", ["rdss", "probcover"])
def test_exact_ways_of_small_pools_too(name: str, dask: Dask, tmp_path: Path) -> None:
    shards = sharded(tmp_path, rows(3))
    alone = strategy(name).query(pool_of(rows(3)), batch_size=9)
    apart = strategy(name).query(pool_of(shards, dask), batch_size=9)
    np.testing.assert_array_equal(alone, apart)


@pytest.mark.parametrize("name", ["k_center", "usl"])
def test_strategies_that_hold_all_rows_read_shards_too(name: str, tmp_path: Path) -> None:
    alone = strategy(name).query(pool_of(rows(2)), batch_size=9)
    read = strategy(name).query(pool_of(sharded(tmp_path, rows(2))), batch_size=9)
    np.testing.assert_array_equal(alone, read)


@pytest.mark.parametrize("name", ["rdss", "herding"])
@pytest.mark.usefixtures("small_blocks")
def test_no_more_than_a_block_is_read_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rdss, "BANDWIDTH", 50)
    read: list[int] = []
    get = ShardedRows.__getitem__

    def counted(shards: ShardedRows, which: Any) -> np.ndarray:
        found = get(shards, which)
        read.append(len(found))
        return found

    monkeypatch.setattr(points, "CHUNK", N)
    monkeypatch.setattr(vectors, "MEMORY", 4 * 13 * 120)  # 120 rows of 13 features
    monkeypatch.setattr(ShardedRows, "__getitem__", counted)
    strategy(name).query(pool_of(sharded(tmp_path, rows(0))), batch_size=5)
    assert sum(read) > N and max(read) <= 130  # 130 anchors at most, and 120 or 130 rows a block


def test_rows_of_length_1_are_those_of_all_rows_at_once(tmp_path: Path) -> None:
    features, candidates = rows(0), np.random.default_rng(0).permutation(N)[:300]
    for known in ({}, {"candidates": candidates}, {"candidates": np.setdiff1d(range(N), [7])}):
        memory, lazy = pool_of(features, **known), pool_of(sharded(tmp_path, features), **known)
        for made in (population_directions, population_units):
            whole, read = made(memory), made(lazy)
            assert isinstance(read, UnitRows) and read.shape == whole.shape
            some = np.array([5, 0, 5, 200])
            for which in (slice(None), slice(10, 150), slice(3, 3), slice(0, 90, 4), some):
                np.testing.assert_array_equal(read[which], whole[which])


def test_results_are_in_order_and_errors_come_back(dask: Dask) -> None:
    parts = [slice(start, start + 3) for start in range(0, 90, 3)]
    for backend in (Local(), dask):
        found = list(backend.map(partial(shifted, by=1), np.arange(90), parts))
        np.testing.assert_array_equal(np.concatenate(found), np.arange(1, 91))
        assert list(backend.map(failing, np.arange(3), [])) == []
        with pytest.raises(ArtefactError, match="rows 0 to 3 are not there"):
            list(backend.map(failing, np.arange(90), parts))


def test_workers_without_the_files_say_so(dask: Dask, tmp_path: Path) -> None:
    shards = sharded(tmp_path, rows(0))
    again = pickle.loads(pickle.dumps(shards))  # files are opened at the first row
    (tmp_path / "part-1.npy").unlink()
    for pool in (pool_of(shards, dask), pool_of(again)):
        with pytest.raises(ArtefactError, match=r"part-1\.npy cannot be read"):
            Rdss().query(pool, batch_size=3)


def test_a_worker_killed_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    parts = [slice(start, start + 3) for start in range(0, 90, 3)]
    mark = tmp_path / "dead"
    with local_cluster(2) as cluster, Client(cluster) as client:
        before = {each["pid"] for each in _workers(client)}
        found = list(Dask(client).map(partial(once_killed, mark=mark), np.arange(90), parts))
        np.testing.assert_array_equal(np.concatenate(found), 2 * np.arange(90))
        assert mark.exists()

        dying = _Dying(client, at_call=3)
        shards = sharded(tmp_path, rows(4))
        apart = Rdss().query(pool_of(shards, dying), batch_size=9)
        assert dying.killed and dying.killed[0] not in {e["pid"] for e in _workers(client)}
        assert before != {each["pid"] for each in _workers(client)}
    np.testing.assert_array_equal(apart, Rdss().query(pool_of(rows(4)), batch_size=9))


class _Dying(Dask):
    """Kills one worker after the first block of one of its passes."""

    def __init__(self, client: Client, at_call: int) -> None:
        super().__init__(client)
        self._own, self._left = client, at_call
        self.killed: list[int] = []

    def map(self, *arguments: Any) -> Iterator[Any]:
        self._left -= 1
        for result in super().map(*arguments):
            if self._left == 0 and not self.killed:
                self.killed.append(_workers(self._own)[0]["pid"])
                os.kill(self.killed[0], signal.SIGKILL)
            yield result


def _workers(client: Client) -> list[dict[str, int]]:
    return [{"pid": pid} for pid in client.run(os.getpid).values()]


def test_what_the_only_worker_held_is_sent_again(tmp_path: Path) -> None:
    mark, parts = tmp_path / "dead", [slice(start, start + 10) for start in range(0, 90, 10)]
    with lone_worker() as client:
        found = list(Dask(client).map(partial(once_killed, mark=mark), np.arange(90), parts))
        np.testing.assert_array_equal(np.concatenate(found), 2 * np.arange(90))
        assert mark.exists()


def test_a_block_that_ends_every_worker_ends_in_one_sentence() -> None:
    with (
        dask_config.set({"distributed.scheduler.allowed-failures": 0}),
        lone_worker() as client,
        pytest.raises(ClusterError, match="the Dask cluster lost workers"),
    ):
        list(Dask(client).map(deadly, np.arange(9), [slice(0, 9)]))


@contextmanager
def lone_worker() -> Iterator[Client]:
    with local_cluster(1) as cluster, Client(cluster) as client:
        yield client


@contextmanager
def local_cluster(workers: int) -> Iterator[LocalCluster]:
    """Processes of this machine that can be killed without a word in the log."""
    started = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )
    try:
        yield started
    finally:
        # At its very end `close` asks about workers that it may have never listed, if they died.
        with suppress(KeyError):
            started.close()


def test_a_scheduler_is_found_by_its_address(cluster: LocalCluster) -> None:
    with dask_at(cluster.scheduler_address) as backend:
        found = list(backend.map(partial(shifted, by=2), np.arange(4), [slice(0, 4)]))
    np.testing.assert_array_equal(found[0], np.arange(2, 6))


def test_workers_that_cannot_do_the_same_are_refused() -> None:
    here = versions("faiss-cpu")

    def without_fmsel(*_: Any) -> dict[str, Any]:
        raise ModuleNotFoundError("No module named 'fmsel'")

    def refused(run: Any, sentence: str) -> None:
        client: Any = SimpleNamespace(run=run)
        with pytest.raises(OptionError, match=sentence):
            dask_backend.check_workers(client, "tcp://a:1")

    other = {"tcp://b:2": here, "tcp://c:3": here | {"numpy": "0.1"}}
    refused(lambda *_: other, r"worker tcp://c:3 has numpy 0\.1 and this machine [\d.]+")
    refused(lambda *_: {}, "tcp://a:1 has no workers")
    refused(without_fmsel, "cannot run fmsel")
    dask_backend.check_workers(cast(Any, SimpleNamespace(run=lambda *_: {"tcp://b:2": here})), "")
