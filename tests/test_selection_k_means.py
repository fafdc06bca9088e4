"""k-means and typicality against scikit-learn and the definition."""

import numpy as np
import pytest
from clouds import SEEDS, brute_typicality, cloud, inertia
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from fmsel.selection.coverage.kernels import directions
from fmsel.selection.geometry import kmeans
from fmsel.selection.geometry.kmeans import k_means
from fmsel.selection.geometry.typicality import typicality


@pytest.mark.parametrize(
    ("n", "k", "more"), [(300, 1, 1.001), (1_037, 7, 1.03), (1_500, 90, 1.03), (1_999, 300, 1.04)]
)
def test_k_means_is_as_good_as_that_of_scikit_learn(n: int, k: int, more: float, seed: int) -> None:
    points = directions(cloud(seed, n, centres=12))
    ours = k_means(points, k, seed)
    theirs = KMeans(k, n_init=3, random_state=0).fit(points)
    assert inertia(points, ours) <= more * theirs.inertia_
    assert ours.labels.tolist() == pairwise_distances(points, ours.centres).argmin(axis=1).tolist()
    assert len(np.unique(ours.labels)) == k


def test_k_means_of_a_sample_is_nearly_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    points = directions(cloud(3, 4_001, centres=9))
    full = inertia(points, k_means(points, 9, 0))
    monkeypatch.setattr(kmeans, "TRAIN_ON", 1_000)
    monkeypatch.setattr(kmeans, "START_ON", 500)
    sampled = k_means(points, 9, 0)
    assert sampled.labels.shape == (4_001,)
    assert full < inertia(points, sampled) <= 1.05 * full


@pytest.mark.parametrize("k", [3, 40, 140, 150])
def test_k_means_of_equal_vectors(k: int) -> None:
    """Also where there are fewer distinct ones than clusters."""
    points = np.repeat(np.eye(5, dtype=np.float32), 30, axis=0)
    found = k_means(points, k, 0)
    assert found.labels.shape == (150,)
    assert found.centres.shape == (k, 5)
    assert np.isfinite(found.centres).all()
    if k > 5:
        assert inertia(points, found) < 1e-3
    by_vector = found.labels.reshape(5, 30)
    assert (by_vector == by_vector[:, :1]).all()


@given(seed=SEEDS, n=st.integers(2, 60))
@settings(max_examples=30, deadline=None)
def test_typicality_is_that_of_scikit_learns_neighbours(seed: int, n: int) -> None:
    points = directions(cloud(seed, n))
    count = max(1, min(20, n // 2))
    apart = NearestNeighbors(n_neighbors=count).fit(points).kneighbors()[0]  # never itself
    assert typicality(points) == pytest.approx(1 / (apart.mean(axis=1) + 1e-5), rel=2e-3)
    assert typicality(points) == pytest.approx(brute_typicality(points), rel=2e-3)


def test_typicality_of_equal_points_is_finite_and_equal() -> None:
    points = directions(np.repeat(cloud(0, 3), [30, 25, 5], axis=0))
    values = typicality(points)
    assert values[:55] == pytest.approx(1e5)
    assert len(set(values[:30])) == len(set(values[55:])) == 1
    assert 0 < values[55] < 1e5
    assert typicality(points[:1]).tolist() == [0]
    assert len(typicality(points[:0])) == 0
