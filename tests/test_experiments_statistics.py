"""Means, spreads and Welch intervals against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from fmsel.experiments.statistics import Gain, standard_deviation, welch_gain

accuracies = st.lists(st.floats(0, 1, width=16), min_size=3, max_size=8).filter(
    lambda values: np.ptp(values) > 1e-3
)


def welch_by_hand(a: list[float], b: list[float]) -> tuple[float, float]:
    """Welch (1947) with the Welch-Satterthwaite degrees of freedom, in plain Python."""
    means, errors = [], []
    for values in (a, b):
        mean = math.fsum(values) / len(values)
        variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
        means.append(mean)
        errors.append(variance / len(values))
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / (len(a) - 1) + errors[1] ** 2 / (len(b) - 1))
    half = t.ppf(0.975, freedom) * math.sqrt(sum(errors))
    return means[0] - means[1] - half, means[0] - means[1] + half


@given(accuracies, accuracies)
def test_the_interval_is_welch_s(a: list[float], b: list[float]) -> None:
    gain = welch_gain(a, b)
    assert gain.mean == pytest.approx(np.mean(a) - np.mean(b))
    assert (gain.low, gain.high) == pytest.approx(welch_by_hand(a, b), abs=1e-9)


def test_a_textbook_example() -> None:
    """Means 12 and 8, variances 4 and 1, n = 3: error sqrt(5/3), (5/3)^2 / (17/18) freedom."""
    gain = welch_gain([10, 12, 14], [7, 8, 9])
    half = t.ppf(0.975, (5 / 3) ** 2 / (17 / 18)) * math.sqrt(5 / 3)
    assert gain.mean == 4
    assert (gain.low, gain.high) == pytest.approx((4 - half, 4 + half))


def test_the_interval_covers_the_true_difference_as_often_as_it_says(seed: int) -> None:
    """1,000 draws: at 95 % the count lies outside 920..980 once in 30,000 times."""
    rng = np.random.default_rng(seed)
    covered = 0
    for _ in range(1000):
        gain = welch_gain(list(rng.normal(0.8, 0.05, 3)), list(rng.normal(0.7, 0.01, 5)))
        assert gain.low is not None and gain.high is not None
        covered += gain.low <= 0.1 <= gain.high
    assert 920 <= covered <= 980


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 3), (3, 2), (2, 2)])
def test_no_interval_under_three_replicates(n: int, m: int) -> None:
    sample = [0.5 + 0.1 * i for i in range(n)]
    gain = welch_gain(sample, [0.25] * m)
    assert gain.mean == pytest.approx(np.mean(sample) - 0.25)
    assert (gain.low, gain.high) == (None, None)


def test_without_any_spread_the_interval_is_a_point() -> None:
    assert welch_gain([0.75] * 3, [0.5] * 3) == Gain(mean=0.25, low=0.25, high=0.25)


def test_standard_deviation_divides_by_n_minus_one() -> None:
    assert standard_deviation([2, 4, 4, 4, 5, 5, 7, 9]) == pytest.approx(math.sqrt(32 / 7))
    assert standard_deviation([0.5]) is None
