"""Measures of a choice against scipy, scikit-learn, simulation and closed forms."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel

from fmsel.experiments.selection_quality import (
    Likeness,
    chance_of_all_classes,
    covered_mass,
    fit_probe,
)


def points(seed: int, n: int, width: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def test_chance_of_all_classes_is_that_of_the_closed_form_and_of_draws() -> None:
    assert chance_of_all_classes(10, 10) == pytest.approx(3628800 / 10**10)  # 10!/10^10
    assert round(chance_of_all_classes(40, 10), 2) == 0.86
    assert chance_of_all_classes(9, 10) == pytest.approx(0, abs=1e-12)
    draws = np.random.default_rng(0).integers(0, 4, (20_000, 6))
    hits = np.mean([len(set(row)) == 4 for row in draws.tolist()])
    assert hits == pytest.approx(chance_of_all_classes(6, 4), abs=0.015)  # four standard errors


@pytest.mark.parametrize("radius", [0.5, 2.0, 3.0])
def test_covered_mass_counts_what_is_near(radius: float) -> None:
    rows, chosen = points(1, 301), points(2, 7)
    near = cdist(rows.astype("f8"), chosen.astype("f8")).min(axis=1) < radius
    assert covered_mass(rows, chosen, radius) == near.mean()


def test_mmd_is_that_of_scikit_learns_kernel() -> None:
    rows, chosen, sigma = points(3, 200), points(4, 9), 1.7

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(rbf_kernel(a.astype("f8"), b.astype("f8"), gamma=1 / (2 * sigma**2)).mean())

    expected = mean(rows, rows) + mean(chosen, chosen) - 2 * mean(rows, chosen)
    assert Likeness(rows, sigma).squared_mmd(chosen) == pytest.approx(expected, rel=1e-4)
    assert Likeness(rows, sigma).squared_mmd(rows) == pytest.approx(0, abs=1e-6)


def test_probe_is_scikit_learns_and_leaves_unseen_classes_at_zero() -> None:
    pixels, labels = load_digits(return_X_y=True)
    features = (pixels / 16).astype(np.float32)
    some = np.flatnonzero(labels[:200] < 8)
    made = fit_probe(features[some], labels[some], features[200:], 10)
    fitted = LogisticRegression(max_iter=1_000).fit(features[some], labels[some])
    assert (made[:, 8:] == 0).all()
    assert made.argmax(axis=1).tolist() == fitted.predict(features[200:]).tolist()
    np.testing.assert_allclose(made.sum(axis=1), 1, atol=1e-5)


def test_probe_of_one_class_knows_only_that() -> None:
    made = fit_probe(points(5, 3), np.array([2, 2, 2]), points(6, 4), 4)
    assert (made == np.eye(4)[2]).all()
