"""Strategies on clusters against brute force, scikit-activeml and planted blobs."""

from typing import Any

import numpy as np
import pytest
from clouds import SEEDS, brute_typicality, cloud, planted, pool_of, some_pool, turns_of
from hypothesis import given, settings
from hypothesis import strategies as st
from skactiveml.pool import TypiClust
from sklearn.metrics import pairwise_distances
from threadpoolctl import threadpool_limits

from fmsel.errors import OptionError
from fmsel.selection.coverage.kernels import directions
from fmsel.selection.density_mix import DensityMix
from fmsel.selection.geometry.clusters import clustered
from fmsel.selection.kmeans_centres import KmeansCentres
from fmsel.selection.pool import Strategy
from fmsel.selection.typiclust import Typiclust
from fmsel.selection.usl import Usl

STRATEGIES = [KmeansCentres(), Typiclust(), Usl(neighbours=9), DensityMix(clusters=4)]
BY_NAME = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: each.name)


@given(seed=SEEDS, held=st.integers(0, 5), grouped=st.booleans(), budget=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_k_means_picks_are_nearest_the_centres(
    seed: int, held: int, grouped: bool, budget: int
) -> None:
    pool = some_pool(seed, held, grouped)
    picks = KmeansCentres().query(pool, batch_size=budget)
    clusters = clustered(pool, len(pool.held) + budget, 0)
    apart = pairwise_distances(directions(pool.vectors(np.arange(pool.n))), clusters.centres)
    turns = turns_of(pool, picks, len(pool.held) + budget)
    for pick, (cluster, open_) in zip(picks, turns, strict=True):
        assert apart[pick, cluster] <= apart[open_, cluster].min() + 1e-5
    used = [cluster for cluster, _ in turns]
    if not grouped and held == 0:
        sizes = np.bincount(clusters.labels)
        assert sizes[used].tolist() == sorted(sizes.tolist(), reverse=True)
    if not grouped:  # at least as many clusters hold no labelled image as are chosen
        assert len(set(used)) == budget
        assert not clusters.held[used].any()


@given(seed=SEEDS, held=st.integers(0, 5), grouped=st.booleans(), budget=st.integers(1, 20))
@settings(max_examples=25, deadline=None)
def test_typiclust_is_the_definition(seed: int, held: int, grouped: bool, budget: int) -> None:
    """Clusters in turn by held images and size, and the most typical of each."""
    pool = some_pool(seed, held, grouped)
    strategy = Typiclust(max_clusters=7)
    k = min(len(pool.held) + budget, 7)
    picks = strategy.query(pool, batch_size=budget)
    clusters = clustered(pool, k, 0)
    typical = np.zeros(pool.n)
    for rows in clusters.rows:
        typical[clusters.images[rows]] = brute_typicality(clusters.points[rows])
    keys = sorted(range(k), key=lambda j: (clusters.held[j], -len(clusters.rows[j])))
    large = [j for j in keys if len(clusters.rows[j]) > 5]
    small = [j for j in keys if len(clusters.rows[j]) <= 5]
    label = np.full(pool.n, -1)
    label[clusters.images] = clusters.labels
    groups = np.arange(pool.n) if pool.groups is None else pool.groups
    open_, done = pool.available, 0
    for part in (large, small):
        while done < budget and np.isin(label[open_], part).any():
            for cluster in part:
                here = open_[label[open_] == cluster]
                if done == budget or not len(here):
                    continue
                pick = picks[done]
                assert pick in here
                assert typical[pick] >= typical[here].max() * (1 - 1e-4)
                open_, done = open_[groups[open_] != groups[pick]], done + 1
    assert done == budget


@pytest.mark.parametrize("held", [0, 2])
def test_typiclust_picks_what_scikit_activeml_picks(held: int) -> None:
    features, blob = planted((41, 43, 46, 50, 55, 61))  # so all count 20 neighbours
    labeled = np.array([np.flatnonzero(blob == each)[0] for each in range(held)], dtype=np.int64)
    points = directions(features)

    class Given:
        def __init__(self, n_clusters: int) -> None:
            assert n_clusters == 6

        def fit_predict(self, _: np.ndarray) -> np.ndarray:
            return clustered(pool_of(features), 6, 0).labels

    y = np.full(len(points), np.nan)
    y[labeled] = 0
    theirs = TypiClust(cluster_algo=Given, k=20, random_state=0)
    expected = theirs.query(points, y, batch_size=6 - held)
    picks = Typiclust().query(pool_of(features, labeled=labeled), batch_size=6 - held)
    assert picks.tolist() == expected.tolist()
    assert blob[picks].tolist() == [5, 4, 3, 2, 1, 0][: 6 - held]


def test_typiclust_turns_to_small_clusters_last() -> None:
    features, blob = planted((40, 30, 3, 2))
    picks = Typiclust(max_clusters=4).query(pool_of(features), batch_size=75)
    assert blob[picks[:6]].tolist() == [0, 1] * 3
    assert sorted(blob[picks[:70]].tolist()) == [0] * 40 + [1] * 30
    assert blob[picks[70:]].tolist() == [2, 3, 2, 3, 2]


@BY_NAME
def test_every_blob_is_covered(strategy: Strategy) -> None:
    features, blob = planted((60, 50, 40, 30))
    picks = strategy.query(pool_of(features), batch_size=4)
    assert sorted(blob[picks].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("strategy", [KmeansCentres(), Typiclust(), Usl(neighbours=9)])
def test_picks_lie_in_dense_places(strategy: Strategy) -> None:
    features, blob = planted((60, 50, 40, 30))
    off_axis = np.linalg.norm(features - np.eye(4, 8)[blob], axis=1)
    picks = strategy.query(pool_of(features), batch_size=4)
    assert (off_axis[picks] < 0.15).all()


@pytest.mark.parametrize("strategy", [KmeansCentres(), Typiclust()])
def test_blobs_with_a_label_come_last(strategy: Strategy) -> None:
    features, blob = planted((60, 50, 40, 30))
    for label in range(4):
        held = np.flatnonzero(blob == label)[:1]
        picks = strategy.query(pool_of(features, labeled=held), batch_size=3)
        assert sorted(blob[picks].tolist()) == [each for each in range(4) if each != label]


@given(seed=SEEDS, groups=st.integers(1, 50))
@settings(max_examples=20, deadline=None)
def test_groups_across_clusters_leave_none_behind(seed: int, groups: int) -> None:
    group = np.random.default_rng(seed).integers(0, groups, 50)
    pool = pool_of(cloud(seed % 9, 50), groups=group)
    for strategy in STRATEGIES:
        picks = strategy.query(pool, batch_size=pool.most)
        assert sorted(group[picks]) == sorted(set(group))


@BY_NAME
def test_the_choice_does_not_depend_on_threads(strategy: Strategy) -> None:
    pool = pool_of(cloud(10, 1_003, width=16))
    with threadpool_limits(1):
        alone = strategy.query(pool, batch_size=40)
    with threadpool_limits(4):
        assert strategy.query(pool, batch_size=40).tolist() == alone.tolist()


@BY_NAME
def test_images_without_a_direction_are_alike(strategy: Strategy) -> None:
    """They form one cluster, far from all others."""
    features, blob = planted((60, 50, 40))
    features = np.concatenate([features, np.zeros((20, features.shape[1]), np.float32)])
    blob = np.append(blob, [3] * 20)
    picks = strategy.query(pool_of(features), batch_size=4)
    assert sorted(blob[picks].tolist()) == [0, 1, 2, 3]


@BY_NAME
def test_lengths_do_not_matter(strategy: Strategy) -> None:
    features, _ = planted((60, 50, 40, 30))
    scaled = features * 2.0 ** np.arange(len(features))[:, None].clip(0, 9)
    expected = strategy.query(pool_of(features), batch_size=8)
    assert strategy.query(pool_of(scaled.astype("f4")), batch_size=8).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Typiclust(max_clusters=0), "max_clusters must be 1 or more, got 0"),
        (lambda: Typiclust(min_size=0), "min_size must be 1 or more, got 0"),
        (lambda: Usl(neighbours=0), "neighbours must be 1 or more, got 0"),
        (lambda: Usl(strength=-1), r"strength must be in 0\.\..*, got -1"),
        (lambda: Usl(alpha=0), "alpha must be above 0 .* got 0 and 4"),
        (lambda: Usl(horizon=float("nan")), "above 0, got 0.5 and nan"),
        (lambda: Usl(momentum=2), r"momentum must be in 0\.\.1, got 2"),
        (lambda: Usl(rounds=0), "rounds must be 1 or more, got 0"),
        (lambda: DensityMix(clusters=1), "clusters must be 2 or more, got 1"),
    ],
)
def test_bad_parameters_are_refused(make: Any, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        make()
