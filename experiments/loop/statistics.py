"""Learning curves in one number, and how often and how surely one is above another."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fmsel.experiments.statistics import CONFIDENCE, MIN_REPLICATES, Gain

Pair = tuple[int, int]  # seed, round


class Tally(NamedTuple):
    """Over pairs of results: how many are above, below and equal to the baseline's."""

    wins: int
    losses: int
    ties: int


def curve_area(labels: Sequence[int], accuracies: Sequence[float]) -> float:
    """Area under a learning curve over the logarithm of the labels, by trapezoids.

    Divided by the width, so that it is an average accuracy in which every doubling of the labels
    counts the same. Of a curve without width it is the plain mean.

    Args:
        labels: R >= 1 numbers of labels, 1 or more, not falling.
        accuracies: R accuracies in 0..1.
    """
    places, heights = np.log(labels), np.asarray(accuracies, dtype=np.float64)
    widths = np.diff(places)
    if not widths.sum():
        return float(heights.mean())
    return float(np.sum(widths * (heights[1:] + heights[:-1]) / 2) / widths.sum())


def tally(sample: Mapping[Pair, float], baseline: Mapping[Pair, float]) -> Tally:
    """Compare the results of the pairs that both have."""
    differences = [sample[key] - baseline[key] for key in sample.keys() & baseline.keys()]
    return Tally(
        wins=sum(each > 0 for each in differences),
        losses=sum(each < 0 for each in differences),
        ties=sum(each == 0 for each in differences),
    )


def paired_gain(sample: Sequence[float], baseline: Sequence[float]) -> Gain:
    """Mean of the differences, with the interval of Student's t-test for pairs.

    Args:
        sample, baseline: n >= 1 values each; those at one place share a seed.
    """
    differences = np.subtract(sample, baseline)
    low, high = mean_interval(differences.tolist()) or (None, None)
    return Gain(mean=float(differences.mean()), low=low, high=high)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's interval of a mean at `CONFIDENCE`; None below `MIN_REPLICATES` values."""
    if len(values) < MIN_REPLICATES:
        return None
    from scipy.stats import t  # a second to import

    mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    half = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * error
    return float(mean - half), float(mean + half)
