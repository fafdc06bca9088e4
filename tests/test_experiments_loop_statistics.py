"""Areas, wins and paired intervals against numpy, scipy and cases worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_rel

from fmsel.experiments.loop.statistics import (
    Tally,
    curve_area,
    mean_interval,
    paired_gain,
    tally,
)

shares = st.floats(0, 1)
curves = st.lists(st.tuples(st.integers(1, 5000), shares), min_size=2, max_size=8).map(
    lambda points: sorted(points)
)
samples = st.lists(st.tuples(shares, shares), min_size=3, max_size=8)


@given(curves.filter(lambda points: points[0][0] < points[-1][0]))
def test_the_area_is_numpy_s_over_logarithms_by_the_width(points: list[tuple[int, float]]) -> None:
    labels, accuracies = (list(each) for each in zip(*points, strict=True))
    places = np.log2(labels)  # no base changes an average
    expected = np.trapezoid(accuracies, places) / (places[-1] - places[0])
    assert curve_area(labels, accuracies) == pytest.approx(expected, abs=1e-9)
    assert min(accuracies) - 1e-9 <= curve_area(labels, accuracies) <= max(accuracies) + 1e-9


def test_every_doubling_counts_the_same() -> None:
    """Two trapezoids of equal width: (0.2 + 0.4) / 2 and (0.4 + 0.8) / 2."""
    assert curve_area([10, 20, 40], [0.2, 0.4, 0.8]) == pytest.approx((0.3 + 0.6) / 2)
    assert curve_area([10, 40], [0.2, 0.8]) == pytest.approx(0.5)


def test_a_curve_without_width_is_its_mean() -> None:
    assert curve_area([10], [0.3]) == pytest.approx(0.3)
    assert curve_area([10, 10], [0.3, 0.5]) == pytest.approx(0.4)


def test_wins_losses_and_ties_by_hand() -> None:
    own = {(0, 0): 0.5, (0, 1): 0.7, (1, 0): 0.4, (1, 1): 0.9, (2, 0): 1.0}
    other = {(0, 0): 0.5, (0, 1): 0.6, (1, 0): 0.6, (1, 1): 0.8, (3, 0): 0.0}
    assert tally(own, other) == Tally(wins=2, losses=1, ties=1)  # seeds 2 and 3 are no pair
    assert tally(other, own) == Tally(wins=1, losses=2, ties=1)


@given(samples.filter(lambda pairs: np.ptp([a - b for a, b in pairs]) > 1e-3))
def test_the_gain_is_scipy_s_paired_test(pairs: list[tuple[float, float]]) -> None:
    own, other = (list(each) for each in zip(*pairs, strict=True))
    gain, expected = paired_gain(own, other), ttest_rel(own, other).confidence_interval(0.95)
    assert gain.mean == pytest.approx(np.mean(own) - np.mean(other), abs=1e-12)
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    if np.ptp(own) > 1e-3:
        interval = ttest_1samp(own, 0).confidence_interval(0.95)
        assert mean_interval(own) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_what_seeds_share_cancels() -> None:
    """Differences of exactly 2^-4 whatever the seed: an interval without width."""
    gain = paired_gain([0.5625, 0.8125, 0.3125], [0.5, 0.75, 0.25])
    assert (gain.mean, gain.low, gain.high) == (0.0625, 0.0625, 0.0625)


def test_no_interval_below_three_seeds() -> None:
    gain = paired_gain([0.5, 0.7], [0.4, 0.4])
    assert math.isclose(gain.mean, 0.2) and gain.low is None and gain.high is None
    assert mean_interval([0.5, 0.7]) is None
