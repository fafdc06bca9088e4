"""Generalised coverage against brute force, apricot, scikit-activeml and scikit-learn."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skactiveml.pool import MaxHerding, ProbCover, uncertainty_scores
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import cosine_similarity
from threadpoolctl import threadpool_limits

from fmsel.errors import DataError, OptionError
from fmsel.selection.coverage import greedy
from fmsel.selection.coverage.kernels import ROUNDING, Step, cosines, directions
from fmsel.selection.coverage.purity import pure_radius
from fmsel.selection.facility_location import FacilityLocation
from fmsel.selection.geometry.kmeans import k_means
from fmsel.selection.k_center import KCenter
from fmsel.selection.margin import margin_uncertainty
from fmsel.selection.maxherding import Maxherding
from fmsel.selection.pool import Pool, Strategy
from fmsel.selection.probcover import Probcover
from fmsel.selection.uherding import Uherding

CLASSES = ("a", "b", "c")
STRATEGIES = [Probcover(0.6), Maxherding(0.7), FacilityLocation(), Uherding(0.5)]
BY_NAME = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: each.name)


def blobs(seed: int, n: int = 60, width: int = 5) -> np.ndarray:
    """Rows around 3 centres, of all lengths."""
    rng = np.random.default_rng(seed)
    near = rng.normal(size=(3, width))[rng.integers(0, 3, n)]
    around = near + 0.5 * rng.normal(size=(n, width))
    return np.asarray(around * rng.uniform(1, 3, (n, 1)), dtype=np.float32)


def make_pool(seed: int, n: int = 60, **known: Any) -> Pool:
    chances = np.random.default_rng(seed).dirichlet(np.ones(3), n)
    known = {"features": blobs(seed, n), "probabilities": chances} | known
    return Pool(n=n, class_names=CLASSES, **known)


def unit_distances(pool: Pool) -> np.ndarray:
    """(N, N) float64 between features of length 1."""
    assert pool.features is not None
    cosines = cosine_similarity(np.array(pool.features, dtype="f8"))
    return np.asarray(np.sqrt(np.maximum(2 - 2 * cosines, 0)))


def worth(strategy: Strategy, pool: Pool) -> np.ndarray:
    """(N, N) float64: weight of i times how far i is covered by j, from the definitions."""
    apart = unit_distances(pool)
    if isinstance(strategy, Probcover):
        return np.asarray((apart < strategy.radius(pool)).astype("f8"))
    if isinstance(strategy, Maxherding):
        return np.asarray(np.exp(-((apart / strategy.sigma) ** 2)))
    if isinstance(strategy, FacilityLocation):
        return np.asarray(1 - apart**2 / 4)
    assert isinstance(strategy, Uherding) and pool.probabilities is not None
    top = -np.sort(-pool.probabilities, axis=1)
    weights = 1 - top[:, 0] + top[:, 1]
    return np.asarray(weights[:, None] * np.exp(-((apart / strategy.bandwidth(pool)) ** 2)))


def objective(values: np.ndarray, chosen: np.ndarray) -> float:
    return float(values[:, chosen].max(axis=1).sum()) if len(chosen) else 0.0


def check_greedy(strategy: Strategy, pool: Pool, picks: np.ndarray) -> None:
    """Every pick gains the most of those open to it; where nothing gains, it is the farthest."""
    values, apart = worth(strategy, pool)[pool.population], unit_distances(pool)
    groups = np.arange(pool.n) if pool.groups is None else pool.groups
    chosen = pool.held
    for pick in picks:
        taken = groups[np.setdiff1d(chosen, pool.held)]  # groups of held ones are not available
        open_ = pool.available[~np.isin(groups[pool.available], taken)]
        assert pick in open_
        now = objective(values, chosen)
        gains = {i: objective(values, np.append(chosen, i)) - now for i in open_}
        if max(gains.values()) > 1e-4:
            assert gains[pick] >= max(gains.values()) - 1e-4
        else:
            distances = apart[np.ix_(open_, chosen)].min(axis=1)
            assert apart[pick, chosen].min() >= distances.max() - 1e-4
        chosen = np.append(chosen, pick)


@BY_NAME
@given(seed=st.integers(0, 2**32 - 1), held=st.integers(0, 3), grouped=st.booleans())
@settings(max_examples=12, deadline=None)
def test_every_pick_is_the_greedy_one(
    strategy: Strategy, seed: int, held: int, grouped: bool
) -> None:
    rng = np.random.default_rng(seed)
    pool = make_pool(
        seed,
        30,
        candidates=rng.permutation(30)[:24],
        labeled=rng.permutation(30)[:held],
        groups=rng.integers(0, 18, 30) if grouped else None,
    )
    check_greedy(strategy, pool, strategy.query(pool, batch_size=pool.most))


@BY_NAME
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_the_greedy_choice_reaches_its_share_of_the_best(strategy: Strategy, seed: int) -> None:
    pool = make_pool(seed, 9)
    values = worth(strategy, pool)
    best = max(objective(values, np.array(each)) for each in combinations(range(9), 3))
    reached = objective(values, strategy.query(pool, batch_size=3))
    assert (1 - 1 / np.e) * best <= reached + 1e-6  # Nemhauser, Wolsey and Fisher 1978


APRICOT = """
import sys, numpy as np
from apricot import FacilityLocationSelection
chooser = FacilityLocationSelection(20, metric="precomputed", optimizer=sys.argv[1])
print(*chooser.fit(np.load(sys.argv[2])).ranking)
"""


@pytest.mark.parametrize("optimizer", ["naive", "lazy"])
def test_facility_location_is_that_of_apricot(optimizer: str, tmp_path: Path) -> None:
    pool = make_pool(1, 80)
    np.save(tmp_path / "s.npy", (1 + cosine_similarity(pool.features)) / 2)
    # Compiling takes longer than choosing, and numba reads this when it is first imported.
    plain = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    words = [sys.executable, "-c", APRICOT, optimizer, str(tmp_path / "s.npy")]
    said = subprocess.run(words, env=plain, check=True, capture_output=True, text=True).stdout
    theirs = [int(each) for each in said.split()]
    assert FacilityLocation().query(pool, batch_size=20).tolist() == theirs


@pytest.mark.filterwarnings("ignore:The maximum purity")  # one given radius has no purity there
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Probcover(0.5), ProbCover(deltas=[0.5])),
        (Maxherding(0.7), MaxHerding(metric_dict={"gamma": 1 / 0.7**2})),
    ],
    ids=lambda each: type(each).__name__,
)
def test_every_pick_is_a_best_one_of_scikit_activeml(ours: Strategy, theirs: Any) -> None:
    """Which of equally good ones comes next is left to chance there."""
    pool = make_pool(2, 80)
    points, labels = directions(pool.vectors(pool.population)), np.full(80, np.nan)
    for pick in ours.query(pool, batch_size=15):
        utilities = theirs.query(points, labels, return_utilities=True)[1][0]
        assert utilities[pick] >= np.nanmax(utilities) - 1e-6
        labels[pick] = 0


@given(seed=st.integers(0, 2**32 - 1), purity=st.sampled_from([0.8, 0.95, 1.0]))
@settings(max_examples=10, deadline=None)
def test_the_radius_is_the_largest_pure_one(seed: int, purity: float) -> None:
    points = directions(blobs(seed))
    labels = k_means(points, 3, seed=5).labels
    radius = pure_radius(points, 3, purity, seed=5)

    class Given:
        def __init__(self, n_clusters: int) -> None:
            assert n_clusters == 3

        def fit_predict(self, _: np.ndarray) -> np.ndarray:
            return labels

    apart = pairwise_distances(points.astype("f8"))
    impure = apart.copy()
    impure[labels[:, None] == labels] = 9
    assert (impure.min(axis=1) >= radius - 1e-4).mean() >= purity - 1e-9
    assert (impure.min(axis=1) >= radius + 1e-4).mean() < purity
    steps = np.arange(0.01, 2, 0.01)
    theirs = ProbCover(3, deltas=steps, alpha=min(purity, 1 - 1e-9), cluster_algo=Given)
    theirs.query(points, np.full(60, np.nan))
    assert theirs.delta_max_ <= radius + 1e-4 or theirs.delta_max_ == steps[0]
    assert radius <= theirs.delta_max_ + 0.0101


@given(seed=st.integers(0, 2**32 - 1), copies=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_a_pair_at_the_very_edge_is_outside_and_rounding_moves_none(seed: int, copies: int) -> None:
    """Radii are distances of pairs, as those of `pure_radius` are; by float64, pair by pair."""
    points = directions(np.tile(blobs(seed, 31, 9), (copies, 1)))
    exact = points.astype("f8") @ points.T.astype("f8")
    exact[exact > 1 - ROUNDING] = 1
    for i, j in np.random.default_rng(seed).integers(0, len(points), (20, 2)):
        if exact[i, j] == 1:
            continue
        kernel = Step(float(np.sqrt(2 - 2 * exact[i, j])))
        found = kernel.values(cosines(points, points, kernel.edge))
        np.testing.assert_array_equal(found > 0, exact > exact[i, j] + 1e-9)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_what_lies_at_the_very_edge_of_an_image_held_is_not_covered(seed: int) -> None:
    """The radius is the distance of that pair, and copies give the image weight; by float64."""
    rows = blobs(seed, 60, 37)
    held, others = np.split(np.random.default_rng(seed).permutation(60), [3])
    for other in others[:10]:
        features = np.concatenate([rows, np.repeat(rows[[other]], 30, axis=0)])
        points = directions(features).astype("f8")
        exact = points @ points.T
        within = exact > exact[held[0], other] + 1e-9
        gains = within[:, ~within[held].any(axis=0)].sum(axis=1)
        gains[held] = 0
        strategy = Probcover(float(np.sqrt(2 - 2 * exact[held[0], other])))
        pool = make_pool(seed, 90, features=features, labeled=held)
        assert not gains.any() or strategy.query(pool, batch_size=1) == [gains.argmax()]


def test_probcover_counts_the_classes_or_asks_for_clusters() -> None:
    pool = make_pool(0)
    assert Probcover().radius(pool) == Probcover(clusters=3).radius(pool)
    assert Probcover().radius(pool) != Probcover(clusters=6).radius(pool)
    unknown = Pool(n=60, features=pool.features)
    with pytest.raises(OptionError, match="number is not known here; give `clusters`, or"):
        Probcover().query(unknown, batch_size=3)
    assert len(Probcover(clusters=3).query(unknown, batch_size=3)) == 3


def test_one_cluster_has_the_largest_radius() -> None:
    assert pure_radius(np.ones((7, 2), dtype=np.float32), 3, 0.95, seed=0) == 2


def test_uncertainty_is_that_of_scikit_activeml() -> None:
    chances = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    theirs = uncertainty_scores(chances, method="margin_sampling")
    np.testing.assert_allclose(margin_uncertainty(chances), theirs, atol=1e-12)


def test_the_bandwidth_of_uherding_is_the_least_distance_of_labelled_images() -> None:
    pool = make_pool(4, labeled=np.array([3, 9, 27, 44]))
    among = unit_distances(pool)[np.ix_(pool.held, pool.held)]
    assert Uherding().bandwidth(pool) == pytest.approx(among[among > 1e-4].min(), rel=1e-4)
    copies = np.repeat(blobs(4, 2), 30, axis=0)
    assert Uherding().bandwidth(make_pool(4, features=copies, labeled=np.arange(9))) == 1
    assert Uherding().bandwidth(make_pool(4)) == 1
    check_greedy(Uherding(), pool, Uherding().query(pool, batch_size=10))


def test_uherding_of_a_network_equally_uncertain_of_all_is_maxherding() -> None:
    for chances in (np.full((60, 3), 1 / 3), np.tile([1.0, 0, 0], (60, 1))):
        pool = make_pool(5, probabilities=chances)
        ours = Uherding(0.7).query(pool, batch_size=30)
        assert ours.tolist() == Maxherding(0.7).query(pool, batch_size=30).tolist()


@BY_NAME
def test_what_is_certain_or_not_in_the_pool_need_not_be_covered(strategy: Strategy) -> None:
    angles = np.radians([0, 20, 40, 180, 181, 182, 183])  # most lie where nobody looks
    features = np.column_stack([np.cos(angles), np.sin(angles)]).astype("f4")
    pool = Pool(
        n=7,
        class_names=CLASSES,
        features=features,
        probabilities=np.full((7, 3), 1 / 3),
        candidates=np.array([0, 1, 2]),
    )
    assert strategy.query(pool, batch_size=1).tolist() == [1]


def limit(monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    """Pools of a few hundred points are treated as large ones."""
    for name, most in limits.items():
        monkeypatch.setattr(greedy, name, most)


@BY_NAME
def test_pairs_that_can_improve_are_enough(
    strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(6, 200, labeled=np.array([7, 70]), groups=np.arange(200) // 2)
    dense = strategy.query(pool, batch_size=pool.most)
    limit(monkeypatch, PAIRS=500, EDGES=200 * 200)
    assert strategy.query(pool, batch_size=pool.most).tolist() == dense.tolist()


@BY_NAME
@pytest.mark.parametrize("limits", [{}, {"CANDIDATES": 200, "TARGETS": 250}])
def test_a_large_pool_comes_near_the_exact_choice(
    strategy: Strategy, limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(7, 300)
    values = worth(strategy, pool)
    exact = strategy.query(pool, batch_size=60)
    limit(monkeypatch, PAIRS=15_000, EDGES=4_000, **limits)
    near = strategy.query(pool, batch_size=60)
    assert near.tolist() != exact.tolist()
    for size in (3, 10, 30, 60):
        assert strategy.query(pool, batch_size=size).tolist() == near[:size].tolist()
        reached = objective(values, near[:size])
        assert reached > 0.8 * objective(values, exact[:size])
        drawn = [np.random.default_rng(draw).permutation(300)[:size] for draw in range(20)]
        assert reached > np.mean([objective(values, each) for each in drawn])


@BY_NAME
def test_equal_images_are_chosen_in_order(strategy: Strategy) -> None:
    pool = make_pool(8, 12, features=np.tile(blobs(8, 1), (12, 1)), labeled=np.array([0, 3]))
    assert strategy.query(pool, batch_size=10).tolist() == [1, 2, *range(4, 12)]


@BY_NAME
@given(seed=st.integers(0, 2**32 - 1), held=st.integers(0, 3), grouped=st.booleans())
@settings(max_examples=10, deadline=None)
def test_where_nothing_is_gained_any_more_the_rest_is_that_of_k_center(
    strategy: Strategy, seed: int, held: int, grouped: bool
) -> None:
    """A greedy pick that gains nothing is the farthest, of equally far ones the lowest index."""
    rng = np.random.default_rng(seed)
    features = np.tile(blobs(seed, 12), (4, 1))[rng.permutation(48)]
    pool = make_pool(
        seed,
        48,
        features=features,
        labeled=rng.permutation(48)[:held],
        groups=rng.integers(0, 40, 48) if grouped else None,
    )
    picks = strategy.query(pool, batch_size=pool.most)
    _, kinds = np.unique(features, axis=0, return_inverse=True)
    known = (len(set(kinds[[*pool.held, *picks[:k]]])) for k in range(len(picks)))
    covered = next((k for k, count in enumerate(known) if count == kinds.max() + 1), None)
    assume(covered is not None)  # of all kinds one could be chosen
    later = replace(pool, labeled=np.concatenate([pool.held, picks[:covered]]))
    rest = KCenter().query(later, batch_size=later.most)
    assert picks[covered:].tolist() == rest.tolist()


@BY_NAME
def test_copies_come_after_all_that_differ(strategy: Strategy) -> None:
    features = np.repeat(np.eye(4, 6, dtype="f4"), 5, axis=0)
    features[:5] = 0  # rows of zeros are like each other only
    picks = strategy.query(make_pool(9, 20, features=features), batch_size=20)
    assert sorted(picks[:4] // 5) == [0, 1, 2, 3]
    assert sorted(picks) == list(range(20))


@BY_NAME
def test_the_choice_does_not_depend_on_threads(strategy: Strategy) -> None:
    pool = make_pool(10, 400)
    with threadpool_limits(1):
        alone = strategy.query(pool, batch_size=40)
    with threadpool_limits(2):
        assert strategy.query(pool, batch_size=40).tolist() == alone.tolist()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Probcover(0), "delta must be above 0 and at most 2.* got 0"),
        (lambda: Probcover(float("nan")), "delta must be above 0"),
        (lambda: Probcover(clusters=1), "clusters must be 2 or more, got 1"),
        (lambda: Probcover(purity=1.5), r"purity must be in 0\.\.1, got 1\.5"),
        (lambda: Maxherding(0), r"sigma must be in 0\.001\.\.1000, got 0"),
        (lambda: Uherding(-1), r"sigma must be in 0\.001\.\.1000, got -1"),
    ],
)
def test_unusable_parameters_are_refused(make: Any, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        make()


def test_missing_evidence_is_named() -> None:
    with pytest.raises(DataError, match="uherding needs the predictions of a trained run"):
        Uherding().query(make_pool(0, probabilities=None), batch_size=2)
    with pytest.raises(DataError, match="maxherding needs embeddings"):
        Maxherding().query(make_pool(0, features=None), batch_size=2)
