"""USL against brute force."""

import numpy as np
import pytest
from clouds import cloud, planted, pool_of
from sklearn.metrics import pairwise_distances

from fmsel.selection import usl
from fmsel.selection.coverage.kernels import directions
from fmsel.selection.geometry.clusters import clustered
from fmsel.selection.pool import Pool
from fmsel.selection.usl import Usl


def brute_usl(pool: Pool, strategy: Usl, labels: np.ndarray, budget: int) -> list[int]:
    """From the authors' description, all pairs at once; clusters by number."""
    assert strategy.neighbours is not None
    points = directions(pool.vectors(np.arange(pool.n))).astype("f8")
    squared = pairwise_distances(points, metric="sqeuclidean")
    utility = 1 / np.sort(squared, axis=1)[:, : strategy.neighbours].mean(axis=1)
    with np.errstate(divide="ignore"):
        force = np.where(squared < strategy.horizon, squared**-strategy.alpha, 0)
    np.fill_diagonal(force, 0)  # of chosen and held ones on themselves, which are not chosen again
    by_held = force[:, pool.held].sum(axis=1)
    average, chosen = by_held.copy(), np.empty(0, dtype=np.int64)
    for _ in range(strategy.rounds):
        score = np.where(
            np.isin(np.arange(pool.n), pool.available),
            utility - strategy.strength * average,
            -np.inf,
        )
        chosen = np.array(
            [max(np.flatnonzero(labels == j), key=lambda i: score[i]) for j in range(budget)]
        )
        others = labels[:, None] != labels[chosen]
        repulsion = np.where(others, force[:, chosen], 0).sum(axis=1)
        m = strategy.momentum
        average = m * average + (1 - m) * (by_held + repulsion)
    return [int(i) for i in chosen]


@pytest.mark.parametrize("held", [0, 3])
@pytest.mark.parametrize(
    "strategy",
    [
        Usl(neighbours=10),
        Usl(neighbours=5, rounds=1),
        Usl(neighbours=5, strength=3, alpha=1, horizon=1, momentum=0, rounds=2),
        Usl(neighbours=40, strength=20, momentum=0.5, rounds=7),
    ],
)
def test_usl_is_a_brute_force(strategy: Usl, held: int) -> None:
    for seed in range(5):
        pool = pool_of(cloud(seed, 131), labeled=np.arange(held, dtype=np.int64))
        labels = clustered(pool, 8, 0).labels
        expected = brute_usl(pool, strategy, labels, 8)
        picks = strategy.query(pool, batch_size=8)
        assert sorted(picks.tolist()) == sorted(expected)
        sizes = np.bincount(labels)[labels[picks]]
        assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)


def test_usl_updates_its_repulsion_exactly() -> None:
    points = directions(cloud(0, 90))
    clusters = clustered(pool_of(points), 12, 0)
    kept = usl._Repulsion(clusters, 0.5, 4.0)
    chosen = np.array([rows[0] for rows in clusters.rows])
    for cluster in (None, 3, 3, 7, 1):
        if cluster is not None:
            chosen = chosen.copy()
            chosen[cluster] = clusters.rows[cluster][-1]
        fresh = usl._Repulsion(clusters, 0.5, 4.0).of_other_clusters(chosen)
        assert kept.of_other_clusters(chosen) == pytest.approx(fresh)


def test_usl_counts_an_image_as_its_own_neighbour() -> None:
    """And keeps the density of equal images finite."""
    points = directions(np.array([[1, 0], [1, 0], [0, 1], [-1, 0]], dtype=np.float32))
    assert usl.density(points, 2) == pytest.approx([1e6, 1e6, 1, 1])
    assert usl.density(points, 99) == pytest.approx([4 / 6, 4 / 6, 1 / 1.5, 4 / 10])
    assert usl.density(points, None).tolist() == usl.density(points, 4).tolist()


def test_usl_searches_many_images_in_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    points = directions(cloud(0, 200))
    exact = usl.density(points, 20)
    monkeypatch.setattr(usl, "EXACT_UP_TO", 100)
    assert usl.density(points, None) == pytest.approx(exact, rel=1e-3)
    assert usl.density(points, 1).tolist() == [1e6] * 200


def test_usl_avoids_what_is_held() -> None:
    features, blob = planted((60, 60))
    held = np.flatnonzero(blob == 0)[:1]
    strategy = Usl(neighbours=9, strength=50)
    (pick,) = strategy.query(pool_of(features, labeled=held), batch_size=1)
    assert blob[pick] == 1
