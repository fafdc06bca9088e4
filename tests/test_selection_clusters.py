"""Strategies on clusters against brute force, scikit-learn, scikit-activeml and planted blobs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skactiveml.pool import TypiClust
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from fmsel.errors import BudgetError, OptionError
from fmsel.selection import usl
from fmsel.selection.coverage.kernels import directions
from fmsel.selection.density_mix import DensityMix
from fmsel.selection.geometry import kmeans
from fmsel.selection.geometry.clusters import clustered
from fmsel.selection.geometry.kmeans import Clusters, k_means
from fmsel.selection.geometry.typicality import typicality
from fmsel.selection.kmeans_centres import KmeansCentres
from fmsel.selection.pool import Pool, Strategy
from fmsel.selection.pool.classes import even_turns
from fmsel.selection.pool.extremes import Band
from fmsel.selection.typiclust import Typiclust
from fmsel.selection.usl import Usl

SEEDS = st.integers(0, 2**32 - 1)
STRATEGIES = [KmeansCentres(), Typiclust(), Usl(neighbours=9), DensityMix(clusters=4)]
BY_NAME = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: each.name)


def cloud(seed: int, n: int, centres: int = 4, width: int = 6, spread: float = 0.5) -> np.ndarray:
    """Rows of all lengths around some centres."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(centres, width))[rng.integers(0, centres, n)]
    rows = middle + spread * rng.normal(size=(n, width))
    return np.asarray(rows * rng.uniform(1, 3, (n, 1)), dtype=np.float32)


def planted(sizes: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Blobs around the axes in shuffled order, (N, D); and the blob of each row, (N,).

    Half of each blob lies close to its axis.
    """
    rng = np.random.default_rng(seed)
    blob = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    noise = rng.normal(size=(len(blob), len(sizes) + 4))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    length = np.where(rng.random(len(blob)) < 0.5, 0.1, 0.4)
    rows = np.eye(len(sizes), len(sizes) + 4)[blob] + length[:, None] * noise
    return rows.astype(np.float32), blob


def pool_of(features: np.ndarray, **known: Any) -> Pool:
    return Pool(n=len(features), features=features, **known)


def inertia(points: np.ndarray, found: Clusters) -> float:
    return float(((points - found.centres[found.labels]).astype("f8") ** 2).sum())


def brute_typicality(points: np.ndarray) -> np.ndarray:
    """1 / the mean distance to the nearest others, of the definition; 0 for a point alone."""
    if len(points) < 2:
        return np.zeros(len(points))
    count = max(1, min(20, len(points) // 2))
    apart = np.sort(pairwise_distances(points.astype("f8")), axis=1)[:, 1 : count + 1]
    return np.asarray(1 / (apart.mean(axis=1) + 1e-5))


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


def turns_of(pool: Pool, picks: np.ndarray, k: int) -> list[tuple[int, np.ndarray]]:
    """The cluster of each pick, and the images of it that could have been chosen instead."""
    clusters = clustered(pool, k, 0)
    label = np.full(pool.n, -1)
    label[clusters.images] = clusters.labels
    groups = np.arange(pool.n) if pool.groups is None else pool.groups
    open_ = pool.available
    turns = []
    for pick in picks:
        assert pick in open_
        turns.append((int(label[pick]), open_[label[open_] == label[pick]]))
        open_ = open_[groups[open_] != groups[pick]]
    return turns


def some_pool(seed: int, held: int, grouped: bool, n: int = 60) -> Pool:
    rng = np.random.default_rng(seed)
    return pool_of(
        cloud(seed, n),
        candidates=rng.permutation(n)[: n - 6],
        labeled=rng.permutation(n)[:held],
        groups=rng.integers(0, 40, n) if grouped else None,
    )


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


def ends(picks: np.ndarray, features: np.ndarray, blob: np.ndarray) -> dict[int, list[int]]:
    """Of each blob, where the picks stand when it is ranked from its sparsest image."""
    places: dict[int, list[int]] = {}
    for pick in picks:
        own = np.flatnonzero(blob == blob[pick])
        order = own[np.argsort(brute_typicality(directions(features[own])), kind="stable")]
        places.setdefault(int(blob[pick]), []).append(int(np.flatnonzero(order == pick)[0]))
    return places


def test_density_mix_takes_both_ends_of_every_cluster() -> None:
    features, blob = planted((60, 50, 40))
    picks = DensityMix(clusters=3, ratio=0.5).query(pool_of(features), batch_size=12)
    for label, places in ends(picks, features, blob).items():
        last = (60, 50, 40)[label] - 1
        assert sorted(places) == [0, 1, last - 1, last]


def test_outliers_of_density_mix_lie_in_the_band() -> None:
    features, blob = planted((60, 60, 60))
    strategy = DensityMix(clusters=3, ratio=0, outlier_band=Band(10, 25))
    picks = strategy.query(pool_of(features), batch_size=9)
    assert all(places == [6, 7, 8] for places in ends(picks, features, blob).values())
    with pytest.raises(BudgetError, match=r"the outlier band 10-25 of cluster \d holds 9 of its"):
        strategy.query(pool_of(features), batch_size=30)


@given(seed=SEEDS, share=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_density_mix_evens_out_labels_and_keeps_its_share(seed: int, share: float) -> None:
    features, blob = planted((60, 50, 40), seed % 7)
    held = np.flatnonzero(blob == 0)[:2]
    strategy = DensityMix(clusters=3, ratio=share)
    picks = strategy.query(pool_of(features, labeled=held), batch_size=13, seed=seed)
    assert np.bincount(blob[np.append(held, picks)]).tolist() == [5, 5, 5]
    middle = {label: size / 2 for label, size in enumerate((60, 50, 40))}
    places = ends(picks, features, blob)
    prototypes = sum(place > middle[label] for label, own in places.items() for place in own)
    assert abs(prototypes - share * 13) <= 0.5 + 1e-9


def test_a_mix_of_prototypes_alone_is_the_choice_of_typiclust() -> None:
    features, _ = planted((60, 50, 40))
    mix = DensityMix(clusters=3, ratio=1).query(pool_of(features), batch_size=3)
    assert sorted(mix) == sorted(Typiclust().query(pool_of(features), batch_size=3))


def test_density_mix_has_as_many_clusters_as_there_are_classes() -> None:
    features, _ = planted((60, 50, 40))
    default = DensityMix().query(pool_of(features, class_names=("a", "b", "c")), batch_size=6)
    assert default.tolist() == DensityMix(3).query(pool_of(features), batch_size=6).tolist()
    with pytest.raises(OptionError, match="their number is not known here; give `clusters`"):
        DensityMix().query(pool_of(features), batch_size=6)


@given(seed=SEEDS, groups=st.integers(1, 50))
@settings(max_examples=20, deadline=None)
def test_groups_across_clusters_leave_none_behind(seed: int, groups: int) -> None:
    group = np.random.default_rng(seed).integers(0, groups, 50)
    pool = pool_of(cloud(seed % 9, 50), groups=group)
    for strategy in STRATEGIES:
        picks = strategy.query(pool, batch_size=pool.most)
        assert sorted(group[picks]) == sorted(set(group))


@given(
    seed=SEEDS,
    room=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    total=st.integers(0, 40),
)
@settings(max_examples=50)
def test_turns_are_even_as_far_as_there_is_room(seed: int, room: list[int], total: int) -> None:
    rng = np.random.default_rng(seed)
    held = rng.integers(0, 4, len(room))
    turns = even_turns(held, total, rng, np.array(room))
    new = np.bincount(turns, minlength=len(room))
    assert len(turns) == min(total, sum(room))
    assert (new <= room).all()
    labels = held + new
    for each in np.flatnonzero(new):  # nobody with room left lags behind one that was served
        assert (labels[new < room] >= labels[each] - 1).all()


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


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(OptionError, match=r"within 0\.\.1, got 1\.5"):
        DensityMix(3, ratio=1.5).query(pool_of(cloud(0, 20)), batch_size=2)
