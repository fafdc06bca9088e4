"""The map of images: who is on it, who is placed how, and how far it can be trusted."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.manifold import trustworthiness

from fmsel.embeddings.vectors.map import NEIGHBOURS, image_map


def blobs(n: int, seed: int, width: int = 12) -> npt.NDArray[np.float32]:
    """Three clusters far apart; row i belongs to cluster i % 3."""
    rng = np.random.default_rng(seed)
    centres = 20 * np.eye(3, width)
    return np.asarray(centres[np.arange(n) % 3] + rng.normal(size=(n, width)), dtype=np.float32)


def test_neighbours_stay_neighbours_and_the_figure_is_scikit_learns(seed: int) -> None:
    features = blobs(90, seed)
    made = image_map(features, np.arange(0, 90, 9), seed=seed)
    assert made.indices.tolist() == list(range(90)) and made.placed.all()
    expected = trustworthiness(features, made.points, n_neighbors=NEIGHBOURS)
    assert made.trustworthiness == pytest.approx(expected) and expected > 0.9
    apart = ((made.points[:, None] - made.points) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = apart.argmin(axis=1)
    assert (nearest % 3 == np.arange(90) % 3).mean() > 0.95


def test_the_same_seed_makes_the_same_map() -> None:
    features, wanted = blobs(60, 0), np.array([3, 1, 40])
    first, second = (image_map(features, wanted, others=30, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.indices, second.indices)
    other = image_map(features, wanted, others=30, seed=6)
    assert first.indices.tolist() != other.indices.tolist()


def test_those_too_many_lie_at_the_weighted_mean_of_their_neighbours(seed: int) -> None:
    features = blobs(80, seed)
    features[7] = features[8]  # of equal vectors the one weighs all
    wanted = np.arange(50)
    made = image_map(features, wanted, others=20, most=45, seed=seed)
    late = made.indices[~made.placed]
    assert len(late) == 25 and set(late) <= set(wanted) and len(made.indices) == 70
    core, places = made.indices[made.placed], made.points[made.placed]
    for index in late:
        distances = np.linalg.norm(features[core].astype(np.float64) - features[index], axis=1)
        near = np.argsort(distances)[:NEIGHBOURS]
        weights = 1 / np.maximum(distances[near], 1e-12)
        mean = (weights[:, None] * places[near]).sum(axis=0) / weights.sum()
        np.testing.assert_allclose(made.at(np.array([index]))[0], mean, rtol=1e-3, atol=1e-3)


@settings(max_examples=25)
@given(
    n=st.integers(1, 14),
    wanted=st.integers(1, 14),
    others=st.integers(0, 5),
    width=st.integers(1, 3),
    equal=st.booleans(),
)
def test_any_few_images_have_a_map(
    n: int, wanted: int, others: int, width: int, equal: bool
) -> None:
    features = np.zeros((n, width), np.float32) if equal else blobs(n, 0, 3)[:, :width].copy()
    chosen = np.random.default_rng(n).permutation(n)[:wanted]
    made = image_map(features, chosen, others=others)
    assert set(chosen) <= set(made.indices.tolist())
    assert len(made.indices) == len(set(made.indices.tolist())) <= len(chosen) + others
    assert made.points.shape == (len(made.indices), 2) and np.isfinite(made.points).all()
    np.testing.assert_array_equal(made.at(made.indices), made.points)
