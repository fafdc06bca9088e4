"""Which round is next, from nothing but how far each has come."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmsel.experiments.loop.plan import Plan, Round, Stage

PLAN = Plan(
    strategies=("margin", "random", "badge"),
    late=frozenset({"margin", "badge"}),
    start="random",
    seeds=2,
    rounds=3,
)


def test_late_strategies_of_one_seed_share_the_start_s_first_round() -> None:
    first = Round("random", 1, 0)
    for strategy in PLAN.strategies:
        assert PLAN.track(strategy, 1)[0] == first
        assert PLAN.track(strategy, 1)[2] == Round(strategy, 1, 2)
    assert PLAN.before(Round("badge", 1, 2)) == (first, Round("badge", 1, 1))
    assert len(PLAN.every) == 2 * (1 + 3 * 2)
    assert PLAN.first == (Round("random", 0, 0), first)


def test_a_start_that_is_no_strategy_has_a_first_round_only() -> None:
    plan = Plan(
        strategies=("margin",), late=frozenset({"margin"}), start="typiclust", seeds=1, rounds=2
    )
    assert plan.every == (Round("typiclust", 0, 0), Round("margin", 0, 1))


def test_folders_tell_rounds_apart() -> None:
    assert Round("margin", 3, 2).folder.as_posix() == "tracks/margin-seed3/round-2"
    assert len({each.folder for each in PLAN.every}) == len(PLAN.every)
    assert Round("margin", 3, 2).table == "to-label-margin-seed3-round-2"
    assert len({each.table for each in PLAN.every}) == len(PLAN.every)


def test_selection_seeds() -> None:
    """The first is the track's, as `fmsel split --seed` takes it; later ones are others."""
    seeds = [Round("random", 5, number).selection_seed for number in range(20)]
    assert seeds[0] == 5 and len(set(seeds)) == 20
    assert Round("margin", 5, 7).selection_seed == seeds[7]
    assert Round("random", 6, 7).selection_seed != seeds[7]


def test_by_hand() -> None:
    stages = dict.fromkeys(PLAN.every, Stage.CHOOSE)
    assert PLAN.next_rounds(stages.__getitem__) == {
        Round("random", 0, 0): Stage.CHOOSE,
        Round("random", 1, 0): Stage.CHOOSE,
    }
    stages[Round("random", 0, 0)] = stages[Round("margin", 0, 1)] = Stage.DONE
    stages[Round("badge", 0, 1)] = Stage.LABEL
    stages[Round("random", 1, 0)] = Stage.TRAIN
    assert PLAN.next_rounds(stages.__getitem__) == {
        Round("margin", 0, 2): Stage.CHOOSE,
        Round("random", 0, 1): Stage.CHOOSE,
        Round("badge", 0, 1): Stage.LABEL,
        Round("random", 1, 0): Stage.TRAIN,
    }
    assert PLAN.next_rounds(lambda each: Stage.DONE) == {}


@given(st.data())
def test_in_any_order_of_work_every_round_is_done_once_after_those_before(
    data: st.DataObject,
) -> None:
    done: dict[Round, bool] = defaultdict(bool)

    def stage(each: Round) -> Stage:
        return Stage.DONE if done[each] else Stage.TRAIN

    order = []
    while work := PLAN.next_rounds(stage):
        each = data.draw(st.sampled_from(list(work)))
        assert not done[each]
        done[each] = True
        order.append(each)
    assert set(order) == set(PLAN.every) and len(order) == len(PLAN.every)
    for each in PLAN.every:
        places = [order.index(other) for other in (*PLAN.before(each), each)]
        assert places == sorted(places)


@pytest.mark.parametrize("number", [0, 1])
def test_rounds_say_what_they_are(number: int) -> None:
    assert str(Round("margin", 2, number)) == f"margin, seed 2, round {number}"
