"""k-center, herding and RDSS against their definitions, scikit-activeml, scikit-learn and scipy."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from skactiveml.pool import CoreSet
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from threadpoolctl import threadpool_limits

from fmsel.errors import DataError, OptionError
from fmsel.selection import rdss
from fmsel.selection.coverage.kernels import Gaussian, directions
from fmsel.selection.geometry import farthest, vectors
from fmsel.selection.herding import Herding
from fmsel.selection.k_center import KCenter
from fmsel.selection.pool import Pool, Strategy
from fmsel.selection.rdss import Rdss, mean_kernel, median_distance

STRATEGIES = [KCenter(), Herding(), Rdss(), Rdss(alpha=1, sigma=0.5)]
BY_NAME = pytest.mark.parametrize(
    "strategy", STRATEGIES, ids=["k_center", "herding", "rdss", "kernel_herding"]
)


def blobs(seed: int, n: int = 60, width: int = 5) -> np.ndarray:
    """Rows around 3 centres, of all lengths."""
    rng = np.random.default_rng(seed)
    around = rng.normal(size=(3, width))[rng.integers(0, 3, n)] + 0.5 * rng.normal(size=(n, width))
    return np.asarray(around * rng.uniform(1, 3, (n, 1)), dtype=np.float32)


def make_pool(seed: int, n: int = 60, **known: Any) -> Pool:
    return Pool(n=n, **({"features": blobs(seed, n)} | known))


def restricted(seed: int, held: int, grouped: bool) -> Pool:
    """40 images: 34 candidates, some held, some in groups, two copies and a row of zeros."""
    rng = np.random.default_rng(seed)
    features = blobs(seed, 40)
    features[[7, 23]] = features[11]
    features[5] = 0
    return make_pool(
        seed,
        40,
        features=features,
        candidates=rng.permutation(40)[:34],
        labeled=rng.permutation(40)[:held],
        groups=rng.integers(0, 24, 40) if grouped else None,
    )


def unit_rows(pool: Pool, *, zeros_apart: bool) -> np.ndarray:
    """(N, D) float64 rows of length 1; a row of zeros stays, or has a direction of its own."""
    assert pool.features is not None
    rows = np.array(pool.features, dtype=np.float64)
    zero = ~rows.any(axis=1)
    rows[~zero] /= np.linalg.norm(rows[~zero], axis=1, keepdims=True)
    return np.column_stack([rows, zero]) if zeros_apart else rows


def costs(strategy: Strategy, pool: Pool, chosen: np.ndarray, total: int) -> np.ndarray:
    """(N,) what the next pick is to be the least of, from the definitions."""
    rows = unit_rows(pool, zeros_apart=not isinstance(strategy, Herding))
    mean = rows[pool.population].mean(axis=0)
    if isinstance(strategy, Herding):
        target = (len(chosen) + 1) * mean - rows[chosen].sum(axis=0)
        return np.asarray(np.linalg.norm(target - rows, axis=1))
    if isinstance(strategy, KCenter):
        if not len(chosen):
            return np.asarray(np.linalg.norm(rows - mean, axis=1))
        return np.asarray(-euclidean_distances(rows, rows[chosen]).min(axis=1))
    assert isinstance(strategy, Rdss)
    apart = pdist(rows[pool.population])
    sigma = strategy.sigma or float(np.median(apart[apart > 1e-3]))
    kernel = rbf_kernel(rows, gamma=1 / (2 * sigma**2))
    like_all = kernel[:, pool.population].mean(axis=1)
    if not len(chosen):
        return np.asarray(-like_all)
    alpha = 1 - 1 / np.sqrt(total) if strategy.alpha is None else strategy.alpha
    return np.asarray(kernel[:, chosen].mean(axis=1) - alpha * like_all)


def check(strategy: Strategy, pool: Pool, picks: np.ndarray) -> None:
    """Every pick has the least cost of all that were open to it."""
    groups = np.arange(pool.n) if pool.groups is None else pool.groups
    chosen, total = pool.held, len(pool.held) + len(picks)
    for pick in picks:
        taken = groups[np.setdiff1d(chosen, pool.held)]  # groups of held ones are not available
        open_ = pool.available[~np.isin(groups[pool.available], taken)]
        assert pick in open_
        now = costs(strategy, pool, chosen, total)
        # The distance of two nearly equal vectors is known to the root of their cosine's rounding.
        assert now[pick] <= now[open_].min() + (3e-3 if -now[pick] < 0.1 else 1e-5)
        chosen = np.append(chosen, pick)


@BY_NAME
@given(seed=st.integers(0, 2**32 - 1), held=st.integers(0, 4), grouped=st.booleans())
@settings(max_examples=12)
def test_every_pick_is_that_of_the_definition(
    strategy: Strategy, seed: int, held: int, grouped: bool
) -> None:
    pool = restricted(seed, held, grouped)
    for batch_size in (1, 5, pool.most):
        check(strategy, pool, strategy.query(pool, batch_size=batch_size))


@given(seed=st.integers(0, 2**32 - 1), front=st.integers(1, 6), held=st.integers(0, 3))
@settings(max_examples=20)
def test_k_center_finds_the_farthest_by_looking_at_a_front(
    seed: int, front: int, held: int
) -> None:
    pool = restricted(seed, held, grouped=True)
    whole = KCenter().query(pool, batch_size=pool.most)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(farthest, "FRONT", front)
        part = KCenter().query(pool, batch_size=pool.most)
    check(KCenter(), pool, part)
    assert part.tolist() == whole.tolist()


def radius(pool: Pool, chosen: Any) -> float:
    rows = unit_rows(pool, zeros_apart=True)
    return float(euclidean_distances(rows, rows[np.asarray(chosen)]).min(axis=1).max())


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 4))
@settings(max_examples=25)
def test_the_radius_of_k_center_is_at_most_twice_the_least(seed: int, size: int) -> None:
    pool = make_pool(seed, 10)
    best = min(radius(pool, each) for each in combinations(range(10), size))
    assert radius(pool, KCenter().query(pool, batch_size=size)) <= 2 * best + 1e-5


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_k_center_is_the_coreset_of_scikit_activeml(seed: int) -> None:
    pool = make_pool(seed, 80, labeled=np.array([4, 40]))
    ours = KCenter().query(pool, batch_size=15)
    points, labels = unit_rows(pool, zeros_apart=False), np.full(80, np.nan)
    labels[pool.held] = 0
    theirs = CoreSet(random_state=0).query(points, labels, batch_size=15)
    assert radius(pool, [4, 40, *ours]) <= radius(pool, [4, 40, *theirs]) + 1e-5
    for pick in ours:
        utilities = CoreSet(random_state=0).query(points, labels, return_utilities=True)[1][0]
        assert utilities[pick] >= np.nanmax(utilities) - 1e-5
        labels[pick] = 0


def discrepancy(pool: Pool, chosen: np.ndarray, sigma: float, alpha: float) -> float:
    """alpha-MMD^2 of the chosen and all; alpha 1 is the usual MMD^2."""
    kernel = rbf_kernel(unit_rows(pool, zeros_apart=True), gamma=1 / (2 * sigma**2))
    own = kernel[np.ix_(chosen, chosen)].mean()
    return float(own - 2 * alpha * kernel[chosen].mean() + alpha**2 * kernel.mean())


@pytest.mark.parametrize("size", [5, 20, 60])
def test_herding_and_rdss_represent_all_better_than_chance(seed: int, size: int) -> None:
    """Each by what it minimises."""
    pool = make_pool(seed, 300)
    rows = unit_rows(pool, zeros_apart=False)
    draws = [np.random.default_rng(draw).permutation(300)[:size] for draw in range(30)]

    def off_centre(chosen: np.ndarray) -> float:
        return float(np.linalg.norm(rows[chosen].mean(axis=0) - rows.mean(axis=0)))

    herded = Herding().query(pool, batch_size=size)
    assert off_centre(herded) < 0.75 * np.mean([off_centre(each) for each in draws])
    sigma = float(np.median(pdist(rows)))
    for strategy, alpha in ((Rdss(alpha=1), 1.0), (Rdss(), 1 - size**-0.5)):
        by_chance = np.mean([discrepancy(pool, each, sigma, alpha) for each in draws])
        picks = strategy.query(pool, batch_size=size)
        assert discrepancy(pool, picks, sigma, alpha) < by_chance


def test_alpha_trades_likeness_to_all_for_likeness_to_each_other() -> None:
    pool = make_pool(1, 200)
    kernel = rbf_kernel(unit_rows(pool, zeros_apart=False))
    like_all, like_each_other = [], []
    for alpha in (0.0, 0.5, 1.0):
        picks = Rdss(alpha, sigma=2**-0.5).query(pool, batch_size=20)
        like_all.append(kernel[picks].mean())
        like_each_other.append(kernel[np.ix_(picks, picks)].mean())
    assert sorted(like_all) == like_all
    assert sorted(like_each_other) == like_each_other


def test_rdss_is_nested_where_alpha_is_given() -> None:
    pool = make_pool(2, 200, labeled=np.array([3, 50]))
    assert not Rdss.NESTED
    for strategy, nested in ((Rdss(alpha=0.8), True), (Rdss(), False)):
        large = strategy.query(pool, batch_size=150).tolist()
        small = [strategy.query(pool, batch_size=size).tolist() for size in (1, 5, 40)]
        assert all(each == large[: len(each)] for each in small) is nested


def test_alpha_counts_the_labels_held() -> None:
    pool = make_pool(3, labeled=np.arange(6))
    by_hand = Rdss(alpha=1 - 1 / np.sqrt(16)).query(pool, batch_size=10)
    assert Rdss().query(pool, batch_size=10).tolist() == by_hand.tolist()


def test_the_mean_of_a_kernel_is_that_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    points = directions(blobs(4, 137))
    whole = rbf_kernel(points.astype("f8"), gamma=1 / 0.7**2).mean(axis=1)
    for memory in (vectors.MEMORY, 137 * 4 * 8 * 10, 1):  # one block, blocks of 10 rows, of 1 row
        monkeypatch.setattr(vectors, "MEMORY", memory)
        np.testing.assert_allclose(mean_kernel(points, Gaussian(0.7), 0), whole, rtol=1e-5)


def test_of_many_images_the_mean_is_within_its_standard_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = directions(blobs(5, 1500))
    kernel = rbf_kernel(points.astype("f8"), gamma=1)
    monkeypatch.setattr(rdss, "EXACT_UP_TO", 1499)
    monkeypatch.setattr(rdss, "ANCHORS", 300)
    monkeypatch.setattr(vectors, "MEMORY", 300 * 4 * 8 * 7)  # 1500 is no multiple of 7
    off = [mean_kernel(points, Gaussian(1), seed) - kernel.mean(axis=1) for seed in range(40)]
    error = kernel.std(axis=1) / np.sqrt(300) * np.sqrt(1 - 300 / 1500)
    assert error.max() <= 0.5 / np.sqrt(300)
    np.testing.assert_allclose(np.std(off, axis=0) / error, 1, atol=0.5)
    assert np.abs(np.mean(off, axis=0) / error).max() < 5 / np.sqrt(40)


def test_the_bandwidth_is_the_median_distance_of_different_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = directions(blobs(6, 400))
    exact = float(np.median(pdist(points.astype("f8"))))
    assert median_distance(points, 0) == pytest.approx(exact, rel=1e-5)
    twice = np.concatenate([points, points])
    assert median_distance(twice, 0) == pytest.approx(exact, rel=1e-5)
    assert median_distance(np.ones((4, 1), dtype=np.float32), 0) == 1
    monkeypatch.setattr(rdss, "BANDWIDTH", 150)
    some = [median_distance(points, seed) for seed in range(20)]
    assert len(set(some)) == 20
    assert np.mean(some) == pytest.approx(exact, rel=0.02)


@BY_NAME
def test_the_choice_does_not_depend_on_blocks(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(7, 101, labeled=np.array([0, 9, 100]))
    whole = strategy.query(pool, batch_size=98).tolist()
    monkeypatch.setattr(vectors, "MEMORY", 7 * 4 * 3)  # 7 rows of 3 held images
    assert strategy.query(pool, batch_size=98).tolist() == whole


@BY_NAME
def test_the_choice_does_not_depend_on_threads(strategy: Strategy) -> None:
    features = np.random.default_rng(8).normal(size=(2500, 64)).astype(np.float32)
    pool = make_pool(8, 2500, features=features)
    with threadpool_limits(1):
        alone = strategy.query(pool, batch_size=60)
    with threadpool_limits(4):
        assert strategy.query(pool, batch_size=60).tolist() == alone.tolist()


@BY_NAME
def test_equal_images_are_chosen_in_order(strategy: Strategy) -> None:
    """All equal ones, and of every pair of copies in a pool of them."""
    alike = make_pool(9, 12, features=np.tile(blobs(9, 1), (12, 1)), labeled=np.array([0, 3]))
    assert strategy.query(alike, batch_size=10).tolist() == [1, 2, *range(4, 12)]
    copies = make_pool(9, 122, features=np.tile(blobs(9, 61, 19), (2, 1)))
    picks = strategy.query(copies, batch_size=122).tolist()
    assert all(picks.index(first) < picks.index(first + 61) for first in range(61))


def test_k_center_takes_copies_last() -> None:
    features = np.repeat(np.eye(4, 6, dtype="f4"), 5, axis=0)
    features[:5] = 0  # rows of zeros are like each other only
    picks = KCenter().query(make_pool(10, 20, features=features), batch_size=20)
    assert sorted(picks[:4] // 5) == [0, 1, 2, 3]
    assert sorted(picks) == list(range(20))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Rdss(alpha=-0.1), r"alpha must be in 0\.\.1, got -0\.1"),
        (lambda: Rdss(alpha=float("nan")), r"alpha must be in 0\.\.1, got nan"),
        (lambda: Rdss(sigma=0), r"sigma must be in 0\.001\.\.1000, got 0"),
        (lambda: Rdss(sigma=float("inf")), r"sigma must be in 0\.001\.\.1000, got inf"),
    ],
)
def test_unusable_parameters_are_refused(make: Any, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        make()


@BY_NAME
def test_missing_embeddings_are_named(strategy: Strategy) -> None:
    with pytest.raises(DataError, match=f"{strategy.name} needs embeddings"):
        strategy.query(make_pool(0, features=None), batch_size=2)
