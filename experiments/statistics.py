"""How sure a difference between two sets of replicates is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_REPLICATES = 3  # below it the estimate of the spread is itself mostly noise
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Difference of two means, in the units of the samples.

    Attributes:
        mean: mean of the sample minus mean of the baseline.
        low, high: the Welch interval at `CONFIDENCE`; None where either side has fewer than
            `MIN_REPLICATES` values.
    """

    mean: float
    low: float | None
    high: float | None


def standard_deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation (divisor n - 1); None for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def welch_gain(sample: Sequence[float], baseline: Sequence[float]) -> Gain:
    """Gain of `sample` over `baseline`, with the interval of Welch's unequal-variances t-test.

    Welch (1947), "The generalization of Student's problem when several different population
    variances are involved", Biometrika 34; computed by `scipy.stats.ttest_ind`.

    Args:
        sample, baseline: at least one finite value each, independent replicates.
    """
    from scipy.stats import ttest_ind  # a second to import, and not every table needs it

    mean = float(np.mean(sample) - np.mean(baseline))
    if min(len(sample), len(baseline)) < MIN_REPLICATES:
        return Gain(mean=mean, low=None, high=None)
    if np.ptp(sample) == 0 and np.ptp(baseline) == 0:
        return Gain(mean=mean, low=mean, high=mean)  # the limit; Welch's formula is 0/0 here
    interval = ttest_ind(sample, baseline, equal_var=False).confidence_interval(CONFIDENCE)
    return Gain(mean=mean, low=float(interval.low), high=float(interval.high))
