"""Laws that hold for every strategy there is."""

from typing import Any

import numpy as np
import pytest
from toy_pool import Toy, global_generator, query

from fmsel.errors import BudgetError
from fmsel.metrics.scores import PREFERRED
from fmsel.selection.pool import strategy_class, strategy_names


def rich_pool(*, equal: bool = False, alone: bool = False) -> Toy:
    """All evidence there is, of 3 classes x 20 images, of which 30 can be chosen, 10 a class.

    Args:
        equal: all images have the same vector, prediction and score.
        alone: every image may be chosen: nothing is held, excluded or grouped.
    """
    rng = np.random.default_rng(5)
    labels = np.tile(np.arange(3), 20)
    logits = rng.normal(size=(60, 3)) + 2 * np.eye(3)[labels]
    rows: dict[str, np.ndarray] = {
        "features": (rng.normal(size=(60, 6)) + 4 * np.eye(6)[labels]).astype(np.float32),
        "probabilities": np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
    }
    scores = {name: rng.normal(size=60) for name in PREFERRED}
    history = rng.integers(0, 3, (5, 60))
    if equal:
        rows = {name: np.repeat(each[:1], 60, axis=0) for name, each in rows.items()}
        scores = dict.fromkeys(PREFERRED, np.zeros(60))
        history = np.zeros((5, 60), dtype=np.int64)
    known: dict[str, Any] = {**rows, "scores": scores, "history": history}
    if not alone:
        held = np.where(np.arange(60) < 6, labels, -1)  # two of each class
        groups = np.where(np.arange(60) < 42, np.arange(60) % 21, np.arange(60))  # 21 pairs
        candidates = rng.permutation(np.arange(57))  # the last three are excluded
        known |= {"held": held, "groups": groups, "candidates": candidates}
    return Toy(labels=labels, class_names=("a", "b", "c"), **known)


def choose(name: str, toy: Toy, batch_size: int, seed: int = 0) -> list[int]:
    """The choice of a strategy with its defaults, after what holds for every one of them."""
    strategy = strategy_class(name)()
    picks = query(strategy, toy, batch_size=batch_size, seed=seed)
    assert picks.dtype == np.int64
    assert picks.shape == (batch_size,)
    assert len(np.unique(picks)) == batch_size
    assert set(picks.tolist()) <= set(toy.pool.available.tolist())
    if toy.pool.groups is not None:
        assert len(np.unique(toy.pool.groups[picks])) == batch_size
    return list(picks.tolist())


# `published` points into the 50,000 images of CIFAR-10: tests/test_selection_scores.py.
NAMES = [name for name in strategy_names() if name != "published"]
# These choose within a part of each class only and say so where it is used up.
PARTIAL = ("curriculum", "hard_but_clean", "percentile_band")


@pytest.mark.parametrize("name", strategy_names())
def test_every_strategy_is_called_as_its_module(name: str) -> None:
    assert strategy_class(name)().name == name


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_choice_is_valid_and_repeatable(name: str, equal: bool) -> None:
    """Also where all images are alike; never two of a group, nor one held or excluded."""
    pool = rich_pool(equal=equal)
    for batch_size in (1, 2, 12):
        choice = choose(name, pool, batch_size, seed=3)
        assert choose(name, pool, batch_size, seed=3) == choice


@pytest.mark.parametrize("name", NAMES)
def test_a_prefix_of_a_nested_choice_is_the_smaller_choice(name: str) -> None:
    if not strategy_class(name).NESTED:
        pytest.skip("says that it is not nested")
    for pool in (rich_pool(), rich_pool(equal=True)):
        large = choose(name, pool, 12, seed=1)
        for smaller in (1, 2, 5, 7, 11):
            assert choose(name, pool, smaller, seed=1) == large[:smaller]


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_all_that_may_be_chosen_can_be(name: str, equal: bool) -> None:
    for pool in (rich_pool(equal=equal), rich_pool(equal=equal, alone=True)):
        most = pool.pool.most
        if name not in PARTIAL:
            choose(name, pool, most)
        elif most == len(pool):
            with pytest.raises(BudgetError, match=r"band .* of class 'a'"):
                choose(name, pool, most)
        with pytest.raises(BudgetError, match=f"ask for at most {most}"):
            choose(name, pool, most + 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_is_all_that_a_choice_reads_besides_the_pool(name: str) -> None:
    before = global_generator()
    choose(name, rich_pool(), 6, seed=8)
    assert global_generator() == before
