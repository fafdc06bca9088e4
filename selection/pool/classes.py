"""The members of each class, their shares of a budget, and their picks in one order."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fmsel.selection.pool.pool import IntArray, Pool


def members(pool: Pool, truth: IntArray) -> list[IntArray]:
    """Ascending available images of each of the C classes; unlabelled ones are in none."""
    labels = truth[pool.available]
    return [pool.available[labels == label] for label in range(len(pool.class_names))]


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


def even_shares(total: int, n_classes: int, rng: np.random.Generator) -> IntArray:
    """(C,) labels for each class, equal or, if `total` does not divide, one more for some."""
    return apportion(np.full(n_classes, total / n_classes), rng)


def interleave(picks: Sequence[IntArray]) -> IntArray:
    """First picks of all classes, then all second ones, …: any prefix is balanced within one."""
    rounds = max((len(each) for each in picks), default=0)
    in_order = [each[turn] for turn in range(rounds) for each in picks if turn < len(each)]
    return np.array(in_order, dtype=np.int64)
