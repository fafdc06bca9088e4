"""The members of each class, their shares of a budget, and their picks in one order."""

import heapq
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from fmsel.errors import BudgetError
from fmsel.selection.pool.eligible import Eligible
from fmsel.selection.pool.pool import IntArray, Pool


def members(pool: Pool, truth: IntArray, among: IntArray | None = None) -> list[IntArray]:
    """Images of each of the C classes, in the order of `among`; unlabelled ones are in none.

    Args:
        among: the images to divide; None = the available ones, ascending.
    """
    images = pool.available if among is None else among
    labels = truth[images]
    return [images[labels == label] for label in range(len(pool.class_names))]


def apportion(quotas: npt.NDArray[np.floating], rng: np.random.Generator) -> IntArray:
    """Whole numbers as near the quotas as can be (largest remainders; chance breaks ties).

    Args:
        quotas: (C,) >= 0, the fair share of each class.
    Returns:
        (C,) each its quota rounded down or up; they sum to the rounded sum of the quotas.
    """
    counts: IntArray = np.floor(quotas).astype(np.int64)
    left_over = round(float(quotas.sum())) - int(counts.sum())
    by_remainder = np.lexsort((rng.permutation(len(quotas)), counts - quotas))
    counts[by_remainder[:left_over]] += 1
    return counts


def class_turns(pool: Pool, truth: IntArray, total: int, rng: np.random.Generator) -> IntArray:
    """The class of each of `total` new labels, as `even_turns` of the images held already.

    Returns:
        (total,) in [0, C); (0,) where there are no classes.
    """
    known = truth[pool.held]
    held = np.bincount(known[known >= 0], minlength=len(pool.class_names))
    return even_turns(held, total, rng)


def even_turns(
    held: IntArray, total: int, rng: np.random.Generator, room: IntArray | None = None
) -> IntArray:
    """The class of each of `total` new labels: always one with the fewest labels so far.

    Images held already count, so that held and new ones together are as even as they can be, and so
    does every prefix. Of classes with equally many, the first in an order drawn by `rng` is next.

    Args:
        held: (C,) how many images of each class are held.
        room: (C,) how many more each can give; None = any number.
    Returns:
        (total,) in [0, C), or as many as there is room for.
    """
    order = rng.permutation(len(held))
    left = [total] * len(held) if room is None else room.tolist()
    waiting = [(int(held[each]), int(order[each]), each) for each in range(len(held)) if left[each]]
    heapq.heapify(waiting)
    turns: list[int] = []
    while waiting and len(turns) < total:
        labels, place, label = waiting[0]
        turns.append(label)
        left[label] -= 1
        if left[label]:
            heapq.heapreplace(waiting, (labels + 1, place, label))
        else:
            heapq.heappop(waiting)
    return np.array(turns, dtype=np.int64)


def shares(pool: Pool, turns: IntArray) -> IntArray:
    """(C,) how many of the turns each class has."""
    return np.bincount(turns, minlength=len(pool.class_names))


def check_share(name: str, there: int, share: int, part: str = "") -> None:
    """BudgetError where class `name`, or a `part` of it, has fewer images than its share."""
    if share > there:
        raise BudgetError(
            f"{part}class {name!r} has {there} images, fewer than the {share} asked of it; "
            "ask for fewer a class"
        )


def in_turn(turns: IntArray, picks: Sequence[IntArray]) -> IntArray:
    """The picks of all classes as one list, in which the class of pick i is `turns[i]`."""
    left = [iter(each) for each in picks]
    return np.array([next(left[label]) for label in turns], dtype=np.int64)


def take_in_turn(
    pool: Pool, turns: IntArray, wishes: Sequence[Iterable[Iterable[int]]]
) -> IntArray:
    """Each class in its turn takes the first image of its next wish that is still eligible.

    Args:
        turns: (B,) classes, as of `class_turns`.
        wishes: of each class, an order of images for each of its turns. Turns that wish from one
            and the same order share an iterator, which goes on where the last one stopped.
    Returns:
        (B,) images, no two of one group.
    Raises:
        BudgetError: a wish holds no eligible image, because their groups are taken.
    """
    eligible = Eligible(pool)
    left = [iter(each) for each in wishes]
    picks = np.empty(len(turns), dtype=np.int64)
    for turn, label in enumerate(turns):
        image = next((int(each) for each in next(left[label]) if eligible.mask[each]), None)
        if image is None:
            raise BudgetError(
                f"class {pool.class_names[label]!r} has too few images for the "
                f"{np.count_nonzero(turns == label)} asked of it once only one image of each group "
                "may be chosen; ask for fewer a class"
            )
        eligible.take(image)
        picks[turn] = image
    return picks
