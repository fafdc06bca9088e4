"""Choices by scores and at random against brute force, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_pool import Toy, global_generator, query

from fmsel.errors import BudgetError, DataError, OptionError
from fmsel.metrics.scores import PREFERRED, Scores
from fmsel.metrics.scores.summary import default_ranking, extremes
from fmsel.selection.mixed import Mixed
from fmsel.selection.outliers import Outliers
from fmsel.selection.pool import Eligible, Pool, Strategy, strategy_class
from fmsel.selection.pool.classes import apportion
from fmsel.selection.pool.extremes import Band
from fmsel.selection.prototypes import Prototypes
from fmsel.selection.random import Random
from fmsel.selection.random_stratified import RandomStratified

METRICS = ("first", "second")


def make_pool(seed: int, classes: int = 4, size: int = 30, *, ties: bool = False) -> Toy:
    """`size` images of each class in shuffled order; two metrics."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), size))
    scores = {name: rng.permutation(len(labels)).astype(np.float32) for name in METRICS}
    if ties:
        scores = {name: each // 25 for name, each in scores.items()}
    return Toy(labels=labels, class_names=tuple("abcdefghijkl"[:classes]), scores=scores)


def brute_force_order(pool: Toy, label: int) -> list[int]:
    """Best prototype first, by counting; exact in integers, ties by index."""
    members = [i for i in range(len(pool)) if pool.labels[i] == label]

    def doubled_rank(scores: np.ndarray, i: int) -> int:
        below = sum(scores[j] < scores[i] for j in members)
        equal = sum(scores[j] == scores[i] for j in members)
        return int(2 * below + equal)

    def key(i: int) -> tuple[int, int]:
        return -sum(doubled_rank(pool.scores[name], i) for name in METRICS), i

    return sorted(members, key=key)


@pytest.mark.parametrize("ties", [False, True])
def test_prototypes_and_outliers_are_the_ends_of_a_brute_force_ranking(
    seed: int, ties: bool
) -> None:
    pool = make_pool(seed, ties=ties)
    picks = query(Mixed(ratio=3 / 5, metrics=METRICS), pool, batch_size=5 * 4, seed=seed)
    for label in range(4):
        order = brute_force_order(pool, label)
        own = [int(i) for i in picks if pool.labels[i] == label]
        assert set(own) == {*order[:3], *order[-2:]}
        assert [i for i in own if i in order[:3]] == order[:3]
        assert [i for i in own if i in order[-2:]] == order[:-3:-1]


@given(seed=st.integers(0, 2**32), levels=st.integers(1, 40), unlabelled=st.integers(0, 9))
@settings(max_examples=40)
def test_splits_take_what_the_table_of_scores_shows(
    seed: int, levels: int, unlabelled: int
) -> None:
    """Also where images score equally, which few levels make sure of."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1, 2, -1], [20, 20, 20, unlabelled]))
    arrays = {
        name: rng.integers(0, levels, len(labels)).astype(np.float32)
        for name in (*PREFERRED, "other")
    }
    pool = Toy(labels=labels, class_names=("a", "b", "c"), scores=arrays)
    scores = Scores(dataset={"n": len(labels)}, arrays=arrays, records={})
    ends = extremes(default_ranking(scores, labels)[0], labels, 4)
    for strategy, side in ((Prototypes(), 0), (Outliers(), 1)):
        picks = query(strategy, pool, batch_size=12, seed=seed)
        for label in range(3):
            assert picks[labels[picks] == label].tolist() == ends[label][side].tolist()


def test_one_metric_ranks_as_its_scores_do() -> None:
    labels = np.zeros(6, dtype=np.int64)
    scores = {"m": np.array([0.1, 0.9, 0.5, 0.9, 0.0, 0.5])}
    pool = Toy(labels=labels, class_names=("a",), scores=scores)
    assert query(Prototypes(metrics=("m",)), pool, batch_size=4).tolist() == [1, 3, 2, 5]
    assert query(Outliers(metrics=("m",)), pool, batch_size=3).tolist() == [4, 0, 5]


@given(
    seed=st.integers(0, 2**32),
    size=st.integers(12, 40),
    classes=st.integers(1, 6),
    ratio=st.floats(0, 1),
    per_class=st.integers(1, 12),
)
@settings(max_examples=60)
def test_mixed_keeps_budget_balance_and_share(
    seed: int, size: int, classes: int, ratio: float, per_class: int
) -> None:
    pool = make_pool(seed, classes, size)
    budget = per_class * classes
    picks = query(Mixed(ratio=ratio, metrics=METRICS), pool, batch_size=budget, seed=seed)
    assert len(set(picks.tolist())) == budget
    assert np.bincount(pool.labels[picks], minlength=classes).tolist() == [per_class] * classes
    prototypes = 0
    for label in range(classes):
        order = brute_force_order(pool, label)
        own = set(picks[pool.labels[picks] == label].tolist())
        head = next((k for k, i in enumerate(order) if i not in own), size)
        assert own == {*order[:head], *order[len(order) - (per_class - head) :]}
        prototypes += head
    if per_class < size:  # else the two ends meet and cannot be told apart
        assert abs(prototypes - ratio * budget) <= 0.5 + 1e-9


@given(seed=st.integers(0, 2**32), budget=st.integers(1, 60))
@settings(max_examples=40)
@pytest.mark.parametrize(
    "strategy", [RandomStratified(), Mixed(metrics=METRICS), Prototypes(metrics=METRICS)]
)
def test_every_prefix_is_balanced_within_one(strategy: Strategy, seed: int, budget: int) -> None:
    pool = make_pool(seed)
    picks = query(strategy, pool, batch_size=budget, seed=seed)
    for stop in range(1, budget + 1):
        counts = np.bincount(pool.labels[picks[:stop]], minlength=4)
        assert counts.max() - counts.min() <= 1


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30)
def test_choice_does_not_depend_on_the_order_of_the_images(seed: int) -> None:
    pool = make_pool(seed)
    shuffle = np.random.default_rng(seed + 1).permutation(len(pool))
    moved = Toy(
        labels=pool.labels[shuffle],
        class_names=pool.class_names,
        scores={name: each[shuffle] for name, each in pool.scores.items()},
    )
    # one metric without ties: equal images are told apart by index, which does depend on the order
    strategy = Mixed(ratio=0.5, outlier_band=Band(10, 60), metrics=("first",))
    picks = query(strategy, pool, batch_size=24, seed=seed)
    assert shuffle[query(strategy, moved, batch_size=24, seed=seed)].tolist() == picks.tolist()


@given(quotas=st.lists(st.floats(0, 50), min_size=1, max_size=12), seed=st.integers(0, 999))
def test_apportion_rounds_each_quota_and_keeps_the_sum(quotas: list[float], seed: int) -> None:
    counts = apportion(np.array(quotas), np.random.default_rng(seed))
    assert counts.sum() == round(float(np.sum(quotas)))
    assert all(abs(count - quota) < 1 for count, quota in zip(counts, quotas, strict=True))


def test_apportion_gives_what_is_left_to_the_largest_remainders() -> None:
    counts = apportion(np.array([1.2, 0.9, 2.6, 0.3]), np.random.default_rng(0))
    assert counts.tolist() == [1, 1, 3, 0]


def test_at_one_label_a_class_the_share_mixes_across_classes() -> None:
    pool = make_pool(0, classes=10)
    strategy = Mixed(ratio=0.5, metrics=METRICS)
    best = {brute_force_order(pool, label)[0] for label in range(10)}
    worst = {brute_force_order(pool, label)[-1] for label in range(10)}
    draws = [query(strategy, pool, batch_size=10, seed=seed) for seed in range(20)]
    for picks in draws:
        assert sorted(pool.labels[picks]) == list(range(10))
        assert len(best & set(picks.tolist())) == len(worst & set(picks.tolist())) == 5
    assert len({tuple(picks) for picks in draws}) > 10  # the seed says which classes


def test_outliers_of_a_band_start_at_its_beginning() -> None:
    pool = Toy(
        labels=np.zeros(100, dtype=np.int64),
        class_names=("a",),
        scores={"m": np.arange(100.0)},  # image i is at percentile i + 0.5
    )
    picks = query(Outliers(outlier_band=Band(5, 20), metrics=("m",)), pool, batch_size=15)
    assert picks.tolist() == list(range(5, 20))


def test_prefixes_of_a_mix_keep_the_share() -> None:
    pool = Toy(
        labels=np.zeros(100, dtype=np.int64), class_names=("a",), scores={"m": np.arange(100.0)}
    )
    picks = query(Mixed(ratio=0.75, metrics=("m",)), pool, batch_size=16)
    for stop in range(4, 17, 4):
        assert (picks[:stop] > 50).sum() == 0.75 * stop


@pytest.mark.parametrize("strategy", [Random(), RandomStratified()])
def test_random_choices_are_repeatable_nested_and_leave_numpy_alone(
    strategy: Strategy, seed: int
) -> None:
    pool = make_pool(seed)
    before = global_generator()
    large = query(strategy, pool, batch_size=40, seed=seed)
    assert global_generator() == before
    assert query(strategy, pool, batch_size=40, seed=seed).tolist() == large.tolist()
    assert query(strategy, pool, batch_size=8, seed=seed).tolist() == large[:8].tolist()
    assert query(strategy, pool, batch_size=40, seed=seed + 1).tolist() != large.tolist()


def test_stratified_draws_of_the_classes_are_independent() -> None:
    labels = np.repeat(np.arange(4), 30)
    pool = Toy(labels=labels, class_names=("a", "b", "c", "d"))
    picks = query(RandomStratified(), pool, batch_size=40, seed=0)
    assert len({tuple(picks[labels[picks] == label] % 30) for label in range(4)}) == 4


def test_random_is_uniform() -> None:
    pool = make_pool(0, classes=2, size=5)
    hits = np.zeros(10)
    for seed in range(2000):
        hits[query(Random(), pool, batch_size=3, seed=seed)] += 1
    expected, deviation = 600, np.sqrt(2000 * 0.3 * 0.7)
    assert np.abs(hits - expected).max() < 4.5 * deviation


def test_unlabelled_images_belong_to_no_class() -> None:
    labels = np.array([0, -1, 0, -1, 1, 1])
    pool = Toy(labels=labels, class_names=("a", "b"), scores={"m": np.arange(6.0)})
    assert query(Prototypes(metrics=("m",)), pool, batch_size=4).tolist() == [2, 5, 0, 4]


@pytest.mark.parametrize(
    ("strategy", "budget", "sentence"),
    [
        (Random(), 121, r"cannot choose 121 of 120 images; ask for at most 120"),
        (Random(), 0, r"cannot choose 0 images; ask for 1 or more"),
        (Prototypes(metrics=("absent",)), 4, r"'absent' \(the metrics here: first, second\)"),
        (Prototypes(metrics=()), 4, r"name at least one metric"),
        (Mixed(ratio=1.5, metrics=METRICS), 4, r"within 0\.\.1, got 1\.5"),
        (Mixed(ratio=float("nan"), metrics=METRICS), 4, r"within 0\.\.1, got nan"),
    ],
)
def test_bad_parameters_are_refused(strategy: Strategy, budget: int, sentence: str) -> None:
    with pytest.raises((BudgetError, OptionError), match=sentence):
        query(strategy, make_pool(0), batch_size=budget)


def uneven_pool() -> Toy:
    labels = np.array([0] * 5 + [1] * 40)
    return Toy(labels=labels, class_names=("cat", "dog"), scores={"m": np.arange(45.0)})


@pytest.mark.parametrize(
    ("strategy", "per_class", "sentence"),
    [
        (Prototypes(metrics=("m",)), 6, "class 'cat' has 5 images, fewer than the 6 prototypes"),
        (Outliers(metrics=("m",)), 7, "class 'cat' has 5 images, fewer than the 7 outliers"),
        (Mixed(metrics=("m",)), 6, "3 prototypes and 3 outliers would overlap in class 'cat'"),
        (
            Outliers(outlier_band=Band(0, 20), metrics=("m",)),
            2,
            "the outlier band 0-20 of class 'cat' holds 1 of its 5 images, fewer than the 2",
        ),
        (
            Mixed(outlier_band=Band(50, 100), metrics=("m",)),
            4,
            "2 outliers from the band 50-100 would overlap with the 2 prototypes of class 'cat'",
        ),
        (RandomStratified(), 6, "class 'cat' has 5 images, fewer than the 6 asked of it"),
    ],
)
def test_classes_too_small_are_named(strategy: Strategy, per_class: int, sentence: str) -> None:
    with pytest.raises(BudgetError, match=sentence):
        query(strategy, uneven_pool(), batch_size=2 * per_class)


def test_all_of_a_class_may_be_chosen() -> None:
    picks = query(Mixed(ratio=0.6, metrics=("m",)), uneven_pool(), batch_size=10)
    assert {0, 1, 2, 3, 4} <= set(picks.tolist())


def test_choosing_within_classes_needs_labels() -> None:
    pool = Toy(labels=np.full(9, -1), class_names=(), scores={"m": np.arange(9.0)})
    for strategy in (Prototypes(metrics=("m",)), RandomStratified()):
        with pytest.raises(
            DataError, match="these images have none; choose by --budget N or --random N"
        ):
            query(strategy, pool, batch_size=3)
    assert len(query(Random(), pool, batch_size=3)) == 3


def test_negative_seed_is_refused() -> None:
    with pytest.raises(OptionError, match="seed must be 0 or more, got -1"):
        query(Random(), make_pool(0), batch_size=3, seed=-1)


@pytest.mark.parametrize(("start", "stop"), [(20, 5), (5, 5), (-1, 5), (50, 101), (0, np.nan)])
def test_band_must_rise_within_0_to_100(start: float, stop: float) -> None:
    with pytest.raises(OptionError, match=f"band {start:g}-{stop:g} must rise"):
        Band(start, stop)


def test_pool_refuses_arrays_that_do_not_fit() -> None:
    labels = np.array([0, 1, 0])
    for wrong, sentence in [
        ({"labels": labels, "class_names": ("a",)}, r"labels in -1\.\.0, got 0\.\.1"),
        ({"labels": labels[:2], "class_names": ("a", "b")}, r"3 images has labels of shape \(2,\)"),
        ({"scores": {"m": np.zeros(2)}}, r"'m' must be 3 finite numbers.*shape \(2,\)"),
        ({"scores": {"m": np.array([0, np.nan, 1])}}, "with 1 not finite"),
        ({"candidates": np.array([1, 1])}, "the candidates of a pool must be distinct"),
        ({"candidates": np.array([0, 3])}, r"in 0\.\.2, got 0\.\.3"),
        ({"labeled": np.array([-1])}, r"labelled images of a pool of 3 .* got -1\.\.-1"),
        ({"groups": np.zeros(4, dtype=np.int64)}, r"the groups must be 3 .* shape \(4,\)"),
        ({"features": np.zeros((2, 5))}, r"the features must be 3 .* shape \(2, 5\)"),
        ({"history": np.zeros((3, 2))}, r"history of 3 images has shape \(3, 2\)"),
    ]:
        with pytest.raises(DataError, match=sentence):
            Pool(n=3, **wrong)  # type: ignore[arg-type]


def test_what_is_held_and_its_group_are_not_chosen_again() -> None:
    pool = Pool(
        n=8,
        class_names=("a",),
        labels=np.array([-1, 0, -1, -1, -1, -1, -1, -1]),
        labeled=np.array([6]),
        candidates=np.array([7, 0, 1, 2, 3, 4]),
        groups=np.array([5, 5, 1, 2, 2, 3, 4, 4]),
    )
    assert pool.held.tolist() == [1, 6]
    assert pool.available.tolist() == [2, 3, 4]  # 0 is of the group of 1, 7 of that of 6
    assert pool.population.tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert pool.most == 2  # 3 and 4 are of one group
    sentence = r"cannot choose 3 of 3 images in 2 groups.* 2 that are labelled already; .* most 2"
    with pytest.raises(BudgetError, match=sentence):
        Random().query(pool, batch_size=3)
    eligible = Eligible(pool)
    assert eligible.take(4).tolist() == [3, 4]
    assert np.flatnonzero(eligible.mask).tolist() == [2]
    assert len(Eligible(pool).take_first([0, 3, 4, 1, 2], 5)) == 2


@given(seed=st.integers(0, 2**32), groups=st.integers(1, 30))
@settings(max_examples=40)
def test_at_most_one_image_of_a_group_is_chosen(seed: int, groups: int) -> None:
    group = np.random.default_rng(seed).integers(0, groups, 40)
    pool = Pool(n=40, groups=group)
    picks = Random().query(pool, batch_size=pool.most, seed=seed)
    assert sorted(group[picks]) == sorted(set(group))


def test_unknown_strategy_is_answered_with_the_known_ones() -> None:
    known = "mixed, .*outliers, .*prototypes, .*random, random_stratified"
    with pytest.raises(OptionError, match=f"no selection strategy 'typical'; there are .*{known}"):
        strategy_class("typical")
