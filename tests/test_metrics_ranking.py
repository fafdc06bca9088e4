"""Ranks, percentiles and the summary of scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import percentileofscore

from fmsel.metrics.scores import (
    class_ranking,
    percentile,
    rank_average,
    typical_first,
    within_class_percentile,
)
from fmsel.metrics.scores.summary import extremes

values = arrays(np.float32, st.integers(1, 40), elements=st.integers(-3, 3).map(float))


@given(values)
def test_percentile_is_scipys_mean_percentile(scores: np.ndarray) -> None:
    expected = [percentileofscore(scores, s, kind="mean") / 100 for s in scores]
    np.testing.assert_allclose(percentile(scores), expected, atol=1e-12)


@given(values)
def test_within_class_percentile_ranks_each_class_alone(scores: np.ndarray) -> None:
    labels = np.arange(len(scores)) % 3
    ranks = within_class_percentile(scores, labels)
    for label in np.unique(labels):
        np.testing.assert_allclose(ranks[labels == label], percentile(scores[labels == label]))


@given(values)
def test_rank_average_ignores_monotone_change_of_scale(scores: np.ndarray) -> None:
    np.testing.assert_allclose(
        rank_average([scores, scores]), rank_average([np.exp(scores), 3 * scores - 7])
    )


def test_extremes_by_hand() -> None:
    ranking = np.array([0.1, 0.9, 0.5, 0.3, 0.2, 0.8])
    labels = np.array([0, 0, 0, 1, 1, -1])
    ends = extremes(ranking, labels, 2)
    assert ends.keys() == {0, 1}
    assert [list(side) for side in ends[0]] == [[1, 2], [0, 2]]
    assert [list(side) for side in ends[1]] == [[3, 4], [4, 3]]


def test_equals_come_by_index_and_outliers_are_the_same_order_backwards() -> None:
    ranking = np.array([0.5, 0.9, 0.5, 0.5, 0.9])
    assert typical_first(ranking).tolist() == [1, 4, 0, 2, 3]
    most, least = extremes(ranking, np.zeros(5, dtype=np.int64), 2)[0]
    assert (most.tolist(), least.tolist()) == ([1, 4], [3, 2])


def test_class_ranking_averages_ranks_within_classes_and_keeps_ties() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    first = np.array([1.0, 2.0, 3.0, 30.0, 20.0, 10.0])
    # each image of a class has all three ranks once, so all means are equal, to the last bit
    turned = [np.roll(first.reshape(2, 3), k, axis=1).ravel() for k in range(3)]
    assert class_ranking(turned, labels).tolist() == [0.5] * 6
    assert class_ranking([first], labels).tolist() == pytest.approx(
        [1 / 6, 0.5, 5 / 6, 5 / 6, 0.5, 1 / 6]
    )


def test_empty_scores_have_no_percentiles() -> None:
    assert percentile(np.array([])).shape == (0,)
    assert rank_average([np.array([2.0, 1.0])]).tolist() == pytest.approx([0.75, 0.25])
