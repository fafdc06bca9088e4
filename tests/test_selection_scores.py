"""Strategies on scores: held labels, groups, bands, curricula and published sets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import percentileofscore

import fmsel.selection.published as published
from fmsel.datasets import load_dataset
from fmsel.datasets.published import PublishedSets
from fmsel.datasets.published.fixmatch_ordered import SETS
from fmsel.errors import BudgetError, DataError, OptionError
from fmsel.selection.curriculum import Curriculum
from fmsel.selection.hard_but_clean import HardButClean
from fmsel.selection.mixed import Mixed
from fmsel.selection.outliers import Outliers
from fmsel.selection.percentile_band import PercentileBand, eighth
from fmsel.selection.pool import IntArray, LabelUse, Oracle, Pool, Strategy
from fmsel.selection.pool.classes import class_turns
from fmsel.selection.pool.extremes import Band
from fmsel.selection.pool.within import WithinClasses
from fmsel.selection.prototypes import Prototypes
from fmsel.selection.published import Published, published_sets
from fmsel.selection.random import Random
from fmsel.selection.random_stratified import RandomStratified

M = ("m",)
BALANCED: list[Oracle] = [
    RandomStratified(),
    Prototypes(metrics=M),
    Outliers(metrics=M),
    Mixed(metrics=M),
    PercentileBand(metrics=M, start=0, stop=100),
    Curriculum(metrics=M, until=0),
    HardButClean(metrics=M, tail=0),
    WithinClasses(Random()),
]
balanced = pytest.mark.parametrize("strategy", BALANCED, ids=lambda each: each.name)


def pool_of(
    truth: IntArray, *, held: IntArray | None = None, groups: IntArray | None = None, seed: int = 0
) -> Pool:
    """Images whose metric `m` has no ties; the labels of the images `held` are known."""
    known = np.full(len(truth), -1)
    if held is not None:
        known[held] = truth[held]
    return Pool(
        n=len(truth),
        class_names=tuple("abcdef"[: truth.max() + 1]),
        labels=known,
        groups=groups,
        scores={"m": np.random.default_rng(seed).permutation(len(truth)).astype(np.float32)},
    )


def unevenness(counts: IntArray) -> int:
    return int((counts**2).sum())


@given(held=st.lists(st.integers(0, 6), min_size=1, max_size=3), total=st.integers(1, 7))
@settings(max_examples=40)
def test_turns_make_the_classes_as_even_as_any_share_could(held: list[int], total: int) -> None:
    classes = len(held)
    truth = np.repeat(np.arange(classes), 15)
    pool = pool_of(truth, held=np.concatenate([15 * c + np.arange(k) for c, k in enumerate(held)]))
    turns = class_turns(pool, truth, total, np.random.default_rng(0))
    for stop in range(1, total + 1):
        ours = unevenness(np.array(held) + np.bincount(turns[:stop], minlength=classes))
        shares = (np.array(s) for s in product(range(stop + 1), repeat=classes) if sum(s) == stop)
        assert ours == min(unevenness(np.array(held) + share) for share in shares)


@given(seed=st.integers(0, 2**32), budget=st.integers(1, 12))
@settings(max_examples=15)
@balanced
def test_held_and_new_labels_are_balanced(strategy: Oracle, seed: int, budget: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat([0, 1, 2], 20))
    held = rng.choice(60, 7, replace=False)
    pool = pool_of(truth, held=held, seed=seed)
    picks = strategy.query(pool, batch_size=budget, seed=seed, truth=truth)
    assert not set(picks) & set(held)
    before, new = (np.bincount(truth[each], minlength=3) for each in (held, picks))
    shares = (np.array(s) for s in product(range(budget + 1), repeat=3) if sum(s) == budget)
    assert unevenness(before + new) == min(unevenness(before + share) for share in shares)


@given(seed=st.integers(0, 2**32), classes=st.integers(1, 3), budget=st.integers(1, 18))
@settings(max_examples=25)
@balanced
def test_never_two_of_a_group_also_across_classes(
    strategy: Oracle, seed: int, classes: int, budget: int
) -> None:
    """Groups that span classes may use up a class, which is then named."""
    rng = np.random.default_rng(seed)
    truth, groups = rng.permutation(np.repeat(np.arange(classes), 12)), rng.integers(0, 25, 400)
    pool = pool_of(truth, groups=groups[: len(truth)], held=np.array([0]), seed=seed)
    try:
        picks = strategy.query(pool, batch_size=min(budget, pool.most), seed=seed, truth=truth)
    except BudgetError as error:
        assert any(f"class {name!r}" in str(error) for name in pool.class_names)
        return
    assert len(set(groups[picks])) == len(picks)
    assert groups[0] not in groups[picks]


@given(seed=st.integers(0, 2**32), ratio=st.sampled_from([0.0, 0.4, 0.5, 1.0]))
@settings(max_examples=40)
def test_only_groups_put_a_better_image_aside(seed: int, ratio: float) -> None:
    """Images that could still be chosen lie between a class's prototypes and its outliers."""
    rng = np.random.default_rng(seed)
    truth, groups = rng.permutation(np.repeat([0, 1], 20)), rng.integers(0, 30, 40)
    pool = pool_of(truth, groups=groups, seed=seed)
    picks = Mixed(ratio=ratio, metrics=M).query(pool, batch_size=8, seed=seed, truth=truth)
    for label in (0, 1):
        chosen = pool.scores["m"][picks[truth[picks] == label]]
        still = (truth == label) & ~np.isin(groups, groups[picks])
        middle = pool.scores["m"][still]
        above = chosen > middle.max()
        assert (above | (chosen < middle.min())).all()
        assert above.sum() == round(4 * ratio) or ratio == 0.4
        assert (np.diff(chosen[above]) < 0).all() and (np.diff(chosen[~above]) > 0).all()


def test_groups_never_let_prototypes_and_outliers_of_a_band_cross() -> None:
    truth = np.zeros(10, dtype=np.int64)
    groups = np.array([0, 1, 2, 3, 4, 5, 6, 6, 6, 6])
    pool = replace(pool_of(truth, groups=groups), scores={"m": np.arange(10.0)})
    strategy = Mixed(metrics=M, outlier_band=Band(50, 100))
    assert strategy.query(pool, batch_size=2, truth=truth).tolist() == [9, 5]
    with pytest.raises(BudgetError, match="class 'a' has too few images for the 3 asked of it"):
        strategy.query(pool, batch_size=3, truth=truth)


@given(
    seed=st.integers(0, 2**32),
    size=st.integers(8, 40),
    ends=st.tuples(st.integers(0, 89), st.integers(1, 90)).filter(lambda each: each[0] < each[1]),
)
@settings(max_examples=40)
def test_percentile_band_draws_all_of_scipys_percentiles_in_it(
    seed: int, size: int, ends: tuple[int, int]
) -> None:
    truth = np.random.default_rng(seed).permutation(np.repeat([0, 1], size))
    pool = pool_of(truth, seed=seed)
    strategy = PercentileBand(*ends, metrics=M)
    inside = []
    for label in (0, 1):
        own = np.flatnonzero(truth == label)
        scores = pool.scores["m"][own]
        percent = percentileofscore(scores, scores, kind="mean")
        inside.append(set(own[(percent >= ends[0] - 1e-9) & (percent < ends[1] - 1e-9)]))
    least = min(map(len, inside))
    if least:
        picks = strategy.query(pool, batch_size=2 * least, seed=seed, truth=truth)
        assert set(picks) <= inside[0] | inside[1]
        # once its images are labelled the band stays where it was, and is used up
        held = replace(pool, labeled=picks)
        with pytest.raises(BudgetError, match=r"the band .* has 0 images, fewer than the 1"):
            strategy.query(held, batch_size=2, seed=seed, truth=truth)
    with pytest.raises(BudgetError, match=r"the band .* of class"):
        strategy.query(pool, batch_size=2 * least + 2, seed=seed, truth=truth)


def test_percentile_band_draws_uniformly() -> None:
    truth = np.zeros(20, dtype=np.int64)
    pool = replace(pool_of(truth), scores={"m": np.arange(20.0)})
    hits = np.zeros(20)
    for seed in range(400):
        hits[PercentileBand(25, 50, M).query(pool, batch_size=2, seed=seed, truth=truth)] += 1
    assert hits.sum() == hits[5:10].sum()
    assert np.abs(hits[5:10] - 160).max() < 4.5 * np.sqrt(400 * 0.4 * 0.6)


def test_the_eighths_are_disjoint_and_rise_from_outliers_to_prototypes() -> None:
    truth = np.tile([0, 1], 40)
    pool = pool_of(truth)
    picks = [
        replace(eighth(k), metrics=M).query(pool, batch_size=10, truth=truth) for k in range(8)
    ]
    assert sorted(np.concatenate(picks)) == list(range(80))
    for label in (0, 1):
        scores = [pool.scores["m"][each[truth[each] == label]] for each in picks]
        assert all(low.max() < high.min() for low, high in pairwise(scores))
    with pytest.raises(OptionError, match=r"0 \(outliers\) to 7 \(prototypes\), got 8"):
        eighth(8)


@given(
    seed=st.integers(0, 2**32),
    size=st.integers(2, 40),
    count=st.integers(1, 20),
    grouped=st.booleans(),
)
@settings(max_examples=60)
def test_curriculum_steps_evenly_from_the_best_prototype_to_the_median(
    seed: int, size: int, count: int, grouped: bool
) -> None:
    truth = np.random.default_rng(seed).permutation(np.repeat([0, 1], size))
    groups = np.arange(2 * size) // 3 if grouped else None
    pool = pool_of(truth, seed=seed, groups=groups)
    scores = pool.scores["m"]
    budget = 2 * min(count, (size + 1) // 2)
    try:
        picks = Curriculum(metrics=M).query(pool, batch_size=budget, seed=seed, truth=truth)
    except BudgetError:
        assert grouped
        return
    for label in (0, 1):
        class_scores = np.sort(scores[truth == label])[::-1]
        own = scores[picks[truth[picks] == label]]
        assert (np.diff(own) < 0).all()  # easy to hard
        assert own.min() >= np.median(class_scores)
        if grouped:
            continue
        places = np.searchsorted(-class_scores, -own)
        assert places[0] == 0
        if len(own) > 1:
            ideal = np.linspace(0, (size + 1) // 2 - 1, len(own))
            assert np.abs(places - ideal).max() < 1
            assert own[-1] == class_scores[class_scores >= np.median(class_scores)].min()


@given(seed=st.integers(0, 2**32), tail=st.integers(0, 60), each=st.integers(1, 8))
@settings(max_examples=30)
def test_hard_but_clean_starts_where_the_tail_is_cut(seed: int, tail: int, each: int) -> None:
    truth = np.random.default_rng(seed).permutation(np.repeat([0, 1], 20))
    pool = pool_of(truth, seed=seed)
    picks = HardButClean(tail, M).query(pool, batch_size=2 * each, seed=seed, truth=truth)
    for label in (0, 1):
        rising = sorted(np.flatnonzero(truth == label), key=lambda i: pool.scores["m"][i])
        cut = sum(100 * (place + 0.5) / 20 < tail for place in range(20))
        assert picks[truth[picks] == label].tolist() == rising[cut : cut + each]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PercentileBand(60, 40), "band 60-40 must rise within"),
        (lambda: Curriculum(until=100), "ends at a percentile of 0 or more and below 100, got 100"),
        (lambda: HardButClean(tail=-1), "must be 0 percent or more and below 100, got -1"),
        (lambda: WithinClasses(Prototypes()), "prototypes reads labels itself"),
    ],
)
def test_bad_parameters_are_refused(make: Callable[[], Strategy], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        make()


@pytest.mark.parametrize("row", range(8))
def test_published_is_the_set_in_its_order(row: int) -> None:
    pool = Pool(n=50_000)
    strategy = Published(f"fixmatch-{row}")
    assert strategy.query(pool, batch_size=10).tolist() == SETS.indices[row].tolist()
    assert strategy.query(pool, batch_size=4, seed=9).tolist() == SETS.indices[row, :4].tolist()


def test_published_passes_over_what_cannot_be_chosen() -> None:
    wanted = SETS.indices[7]
    groups = np.arange(50_000)
    groups[wanted[5]] = groups[wanted[4]]
    pool = Pool(n=50_000, labeled=wanted[1:3], groups=groups)
    left = [*wanted[[0, 3, 4]], *wanted[6:]]
    assert Published().query(pool, batch_size=7).tolist() == left
    sentence = "choose 8 images of the set fixmatch-7: of its 10 images 7 may be chosen"
    with pytest.raises(BudgetError, match=sentence):
        Published().query(pool, batch_size=8)


def test_published_sets_are_for_their_own_images(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_dataset("digits")
    with pytest.raises(DataError, match=r"fixmatch-7 points into .* cifar10, .* part of digits"):
        Published().check_data(data)
    with pytest.raises(DataError, match="50000 images of cifar10, but the pool has 60"):
        Published().query(Pool(n=60), batch_size=3)
    with pytest.raises(OptionError, match=r"no published set 'boss'; there are fixmatch-0, .*-7$"):
        Published("boss").query(Pool(n=60), batch_size=3)
    ours = PublishedSets(
        dataset="digits",
        n=len(data),
        labels_sha256=data.labels_sha256,
        names=("0",),
        indices=np.array([[4, 2]]),
        labels=data.labels[None, [4, 2]],
        citation="",
        url="",
    )
    assert len(published_sets()) == 8
    monkeypatch.setattr(published, "published_sets", lambda: {"ours-0": (ours, 0)})
    Published("ours-0").check_data(data)
    with pytest.raises(DataError, match="original labels"):
        Published("ours-0").check_data(replace(data, labels=data.labels[::-1].copy()))


@dataclass(frozen=True)
class Central(Strategy):
    """For the tests: the images nearest the mean of the population, held ones among it."""

    LABEL_USE: ClassVar[LabelUse] = "none"
    NESTED: ClassVar[bool] = False
    NEEDS = ("features",)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        mean = pool.vectors(pool.population).mean(axis=0)
        apart = np.linalg.norm(pool.vectors(pool.available) - mean, axis=1)
        return pool.available[np.argsort(apart)][:batch_size]


@given(seed=st.integers(0, 2**32), each=st.integers(1, 8))
@settings(max_examples=20)
def test_within_classes_each_class_is_a_pool_of_its_own(seed: int, each: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat([0, 1, 2], 12))
    held = np.concatenate([np.flatnonzero(truth == label)[:2] for label in range(3)])
    features = rng.normal(size=(36, 4)).astype(np.float32)
    pool = replace(pool_of(truth, held=held), features=features)
    strategy = WithinClasses(Central())
    assert (strategy.name, strategy.NEEDS, strategy.NESTED) == (
        "test_selection_scores_within_classes",
        ("features",),
        False,
    )
    picks = strategy.query(pool, batch_size=3 * each, seed=seed, truth=truth)
    for label in range(3):
        own = np.flatnonzero(truth == label)
        apart = np.linalg.norm(features[own] - features[own].mean(axis=0), axis=1)
        best = [i for i in own[np.argsort(apart)] if i not in held][:each]
        assert picks[truth[picks] == label].tolist() == best
    for stop in range(1, 3 * each):
        counts = np.bincount(truth[picks[:stop]], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_within_classes_chance_draws_each_class_anew() -> None:
    truth = np.repeat([0, 1], 30)
    strategy = WithinClasses(Random())
    pool = pool_of(truth)
    picks = strategy.query(pool, batch_size=20, seed=1, truth=truth)
    assert picks.tolist() == strategy.query(pool, batch_size=20, seed=1, truth=truth).tolist()
    assert strategy.query(pool, batch_size=7, seed=1, truth=truth).tolist() == picks[:7].tolist()
    first, second = (picks[truth[picks] == label] % 30 for label in (0, 1))
    assert first.tolist() != second.tolist()
    with pytest.raises(BudgetError, match="class 'a' has 30 images, fewer than the 31 asked of it"):
        uneven = pool_of(np.repeat([0, 1], [30, 40]))
        strategy.query(uneven, batch_size=62, truth=np.repeat([0, 1], [30, 40]))
