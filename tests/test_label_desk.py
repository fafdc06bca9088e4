"""Whose turn an image is: in order, once, never lost, and nobody gets stuck."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fmsel.labeling.page.desk import GONE, LEASE, Desk
from fmsel.labeling.page.lines import Said

TASK = (40, 7, 23, 11, 5)  # in the split's order


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_desk(votes: int = 1) -> tuple[Desk, Clock]:
    clock = Clock()
    return Desk(TASK, votes, clock), clock


def answer(desk: Desk, annotator: str, index: int, choice: str | None = "cat") -> None:
    desk.apply(Said(seq=1, time="", annotator=annotator, index=index, id="", choice=choice))
    desk.renew(annotator, index)


def test_images_come_in_order_from_a_place_and_wrap_round() -> None:
    desk, _ = make_desk()
    assert desk.claim("ann", None, 2, ()) == [40, 7]
    assert desk.claim("ann", 7, 10, ()) == [23, 11, 5, 40, 7]
    assert desk.claim("ann", 5, 2, ()) == [40, 7]
    assert desk.claim("ann", 7, 2, (23, 99)) == [11, 5]
    answer(desk, "ann", 11)
    answer(desk, "ann", 23, "skip")
    answer(desk, "bob", 40)
    assert desk.claim("ann", None, 10, ()) == [7, 5]
    assert desk.claim("bob", None, 10, ()) == [23]  # ann looks at the other two
    answer(desk, "ann", 23, None)  # withdrawn
    assert desk.claim("ann", None, 10, ()) == [7, 5]  # bob looks at 23


def test_two_people_see_no_image_at_the_same_time_until_nothing_else_is_left() -> None:
    desk, clock = make_desk()
    assert desk.claim("ann", None, 3, ()) == [40, 7, 23]
    assert desk.claim("bob", None, 3, ()) == [11, 5]
    assert desk.holders("bob") == {40: "ann", 7: "ann", 23: "ann"}
    assert desk.holders("ann") == {11: "bob", 5: "bob"}
    assert set(desk.holders(None)) == set(TASK)
    answer(desk, "bob", 11)
    answer(desk, "bob", 5)
    assert desk.claim("bob", None, 2, ()) == [40, 7]  # ann may have gone
    clock.now += LEASE
    assert desk.holders(None) == {}
    assert desk.claim("bob", 7, 1, ()) == [23]


def test_people_who_have_long_been_away_are_forgotten() -> None:
    desk, clock = make_desk()
    for number in range(1000):
        desk.claim(f"person {number}", None, 1, ())
    clock.now += LEASE + GONE + 1
    desk.claim("ann", None, 1, ())
    assert list(desk._leases) == ["ann"]


def test_who_answers_keeps_what_was_claimed_and_lets_go_of_what_is_answered() -> None:
    desk, clock = make_desk(votes=2)
    desk.claim("ann", None, 3, ())
    clock.now += LEASE - 1
    answer(desk, "ann", 40)  # begins the time anew
    clock.now += LEASE - 1
    assert desk.holders("bob") == {7: "ann", 23: "ann"}
    assert desk.claim("bob", None, 1, ()) == [40]  # needs a second vote
    clock.now += 1
    assert desk.holders("bob") == {}
    assert desk.claim("bob", 40, 1, ()) == [7]
    answer(desk, "ann", 5)  # was away
    assert desk.holders(None) == {7: "bob", 23: "ann"}


def test_a_new_claim_replaces_the_old_one_but_for_what_is_at_hand() -> None:
    desk, _ = make_desk()
    desk.claim("ann", None, 3, ())
    assert desk.claim("ann", 23, 1, (7,)) == [11]
    assert desk.holders("bob") == {7: "ann", 11: "ann"}
    assert desk.claim("bob", None, 9, ()) == [40, 23, 5]
    assert desk.claim("cy", None, 9, (40,)) == [7, 23, 11, 5]  # nothing is free; 40 is not theirs
    assert 40 not in desk.holders("bob")


def test_done_counts_votes_and_settled_means_that_nothing_is_left_to_ask() -> None:
    desk, _ = make_desk(votes=2)
    for index in TASK[:-1]:
        answer(desk, "ann", index)
        answer(desk, "bob", index, "none of these")
    assert desk.done == 4 and not desk.settled
    answer(desk, "ann", 5, "skip")
    assert desk.done == 4 and desk.settled
    answer(desk, "bob", 40, "skip")  # changes their mind
    assert desk.done == 3 and desk.settled and desk.votes_of(40) == 1
    answer(desk, "bob", 40, None)
    assert desk.done == 3 and not desk.settled
    answer(desk, "ann", 1000)  # of the split, but not asked for
    assert desk.done == 3 and 1000 not in desk and desk.claim("cy", None, 9, ()) == [40, 5]


Turn = tuple[str, str, int, int, list[int]]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["claim", "cat", "skip", "withdraw", "wait"]),
            st.sampled_from(["ann", "bob", "cy"]),
            st.sampled_from(TASK),
            st.integers(1, 6),
            st.lists(st.sampled_from(TASK), max_size=3),
        ),
        max_size=40,
    ),
    st.integers(1, 3),
)
def test_any_claim_is_what_its_definition_says(turns: Sequence[Turn], votes: int) -> None:
    desk, clock = make_desk(votes)
    said: dict[tuple[str, int], str] = {}
    held: dict[str, tuple[set[int], float]] = {}
    for what, name, image, count, skip in turns:
        if what == "wait":
            clock.now += 25.0
            continue
        others = {
            each
            for other, (images, until) in held.items()
            if other != name and until > clock.now
            for each in images
        }
        if what == "claim":
            found = desk.claim(name, image, count, skip)
            place = TASK.index(image) + 1
            left = [
                each
                for each in TASK[place:] + TASK[:place]
                if (name, each) not in said
                and sum(i == each and c == "cat" for (_, i), c in said.items()) < votes
                and each not in skip
            ]
            free = [each for each in left if each not in others]
            assert found == (free or left)[:count]
            kept = held[name][0] & set(skip) - others if name in held else set[int]()
            held[name] = {*found, *kept}, clock.now + LEASE
        else:
            choice = None if what == "withdraw" else what
            answer(desk, name, image, choice)
            if choice is None:
                said.pop((name, image), None)
            else:
                said[name, image] = choice
            if name in held:
                held[name] = held[name][0] - {image} - others, clock.now + LEASE
