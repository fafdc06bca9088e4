"""Choices by a trained run's predictions against scikit-activeml, scipy, torch and closed forms."""

from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from scipy.stats import entropy as scipy_entropy
from skactiveml.pool import uncertainty_scores
from sklearn.metrics import pairwise_distances
from threadpoolctl import threadpool_limits

from fmsel.errors import DataError
from fmsel.selection.badge import Badge, Gradients, draw
from fmsel.selection.entropy import Entropy, entropy
from fmsel.selection.instability import Instability
from fmsel.selection.least_confidence import LeastConfidence
from fmsel.selection.margin import Margin
from fmsel.selection.pool import Pool, Strategy

UNCERTAIN = [
    (LeastConfidence(), "least_confident"),
    (Margin(), "margin_sampling"),
    (Entropy(), "entropy"),
]


def make_pool(seed: int, n: int = 60, classes: int = 4, **known: Any) -> Pool:
    rng = np.random.default_rng(seed)
    usual = {
        "class_names": tuple("abcdefgh"[:classes]),
        "features": rng.normal(size=(n, 5)).astype(np.float32),
        "probabilities": rng.dirichlet(np.full(classes, 0.5), n),
        "history": rng.integers(0, classes, (6, n)),
    }
    return Pool(n=n, **(usual | known))


@pytest.mark.parametrize(("strategy", "method"), UNCERTAIN, ids=lambda each: str(each))
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.float32, np.float64]))
@settings(max_examples=15)
def test_uncertainty_is_that_of_scikit_activeml(
    strategy: Strategy, method: str, seed: int, dtype: Any
) -> None:
    chances = np.random.default_rng(seed).dirichlet(np.full(4, 0.5), 60).astype(dtype)
    picks = strategy.query(make_pool(seed, probabilities=chances), batch_size=60)
    theirs = uncertainty_scores(chances.astype(np.float64), method=method)[picks]
    assert (np.diff(theirs) <= 1e-6).all()
    assert sorted(picks) == list(range(60))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_the_order_of_entropy_is_that_of_scipy(seed: int) -> None:
    chances = np.random.default_rng(seed).dirichlet(np.full(4, 0.5), 60)
    chances[:5] = np.eye(4)[[0, 1, 2, 3, 0]]
    theirs = scipy_entropy(chances, axis=1)
    np.testing.assert_allclose(entropy(chances), theirs, atol=1e-12)
    picks = Entropy().query(make_pool(seed, probabilities=chances), batch_size=60)
    assert picks.tolist() == np.argsort(-theirs, kind="stable").tolist()


def test_the_three_uncertainties_differ() -> None:
    chances = np.array([[0.48, 0.48, 0.04], [0.42, 0.3, 0.28], [0.4, 0.37, 0.23]])
    pool = make_pool(0, 3, 3, probabilities=chances)
    assert LeastConfidence().query(pool, batch_size=3).tolist() == [2, 1, 0]
    assert Margin().query(pool, batch_size=3).tolist() == [0, 2, 1]
    assert Entropy().query(pool, batch_size=3).tolist() == [1, 2, 0]


@pytest.mark.parametrize("strategy", [each for each, _ in UNCERTAIN], ids=lambda each: each.name)
def test_of_equally_uncertain_images_the_lowest_index_comes_first(strategy: Strategy) -> None:
    chances = np.tile([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9]], (4, 1))
    pool = make_pool(1, 12, 2, probabilities=chances, labeled=np.array([4]))
    order = [1, 7, 10, 0, 2, 3, 5, 6, 8, 9, 11]
    assert strategy.query(pool, batch_size=11).tolist() == order


def changes(pool: Pool, image: int) -> int:
    assert pool.history is not None
    row = pool.history[:, image].tolist()
    return sum(before != after for before, after in pairwise(row))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_instability_counts_changes_and_then_looks_at_the_margin(seed: int) -> None:
    pool = make_pool(seed)
    assert pool.probabilities is not None
    margins = uncertainty_scores(pool.probabilities, method="margin_sampling")
    order = sorted(range(60), key=lambda i: (-changes(pool, i), -margins[i]))
    assert Instability().query(pool, batch_size=60).tolist() == order
    without = make_pool(seed, probabilities=None)
    order = sorted(range(60), key=lambda i: -changes(pool, i))
    assert Instability().query(without, batch_size=60).tolist() == order


@pytest.mark.parametrize("kept", [0, 1])
def test_instability_needs_two_evaluations(kept: int) -> None:
    pool = make_pool(0, history=np.zeros((kept, 60), dtype=np.int64))
    with pytest.raises(DataError, match=rf"needs 2 or more, and this run kept {kept}; train"):
        Instability().query(pool, batch_size=2)


def embeddings(pool: Pool) -> np.ndarray:
    """(N, C * D) float64 gradient embeddings, written out."""
    assert pool.probabilities is not None and pool.features is not None
    errors = (
        pool.probabilities - np.eye(pool.probabilities.shape[1])[pool.probabilities.argmax(axis=1)]
    )
    return np.asarray(np.einsum("nc,nd->ncd", errors, pool.features).reshape(pool.n, -1))


def gradients(pool: Pool) -> Gradients:
    assert pool.probabilities is not None and pool.features is not None
    return Gradients(pool.probabilities, np.asarray(pool.features))


def test_gradient_embeddings_are_the_gradients_of_the_last_layer() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(20, 5)).astype(np.float32)
    weights = torch.tensor(rng.normal(size=(4, 5)), dtype=torch.float32, requires_grad=True)
    found = []
    for each in torch.from_numpy(features):
        logits = weights @ each
        loss = torch.nn.functional.cross_entropy(logits, logits.argmax())
        found.append(torch.autograd.grad(loss, weights)[0].flatten().numpy())
    chances = torch.softmax(torch.from_numpy(features) @ weights.detach().T, dim=1).numpy()
    ours = gradients(make_pool(2, 20, features=features, probabilities=chances))
    np.testing.assert_allclose(ours.squared_lengths, np.square(found).sum(axis=1), rtol=1e-4)
    apart = pairwise_distances(np.array(found), metric="sqeuclidean")
    for row in range(20):
        np.testing.assert_allclose(ours.squared_distances(row), apart[row], rtol=1e-3, atol=1e-5)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_distances_of_gradients_are_those_of_the_embeddings(seed: int) -> None:
    pool = make_pool(seed)
    apart = pairwise_distances(embeddings(pool), metric="sqeuclidean")
    ours = gradients(pool)
    for row in range(pool.n):
        np.testing.assert_allclose(ours.squared_distances(row), apart[row], rtol=1e-3, atol=1e-4)
        assert ours.squared_distances(row)[row] == 0


def test_badge_starts_with_the_longest_gradient() -> None:
    for seed in range(20):
        pool = make_pool(seed, labeled=np.array([1, 2, 3]))
        lengths = np.linalg.norm(embeddings(pool), axis=1)
        first = pool.available[lengths[pool.available].argmax()]
        assert Badge().query(pool, batch_size=3, seed=seed)[0] == first


def test_badge_draws_as_k_means_plus_plus_does() -> None:
    """How often every order of three of six images comes, against the product of its chances."""
    pool = make_pool(3, 6)
    apart = pairwise_distances(embeddings(pool), metric="sqeuclidean")
    first = int(np.linalg.norm(embeddings(pool), axis=1).argmax())
    expected = {}
    for second, third in permutations([i for i in range(6) if i != first], 2):
        nearest = np.minimum(apart[first], apart[second])
        chance = apart[first, second] / apart[first].sum() * nearest[third] / nearest.sum()
        expected[first, second, third] = 3000 * float(chance)
    assert sum(expected.values()) == pytest.approx(3000)
    seen = dict.fromkeys(expected, 0)
    for seed in range(3000):
        seen[tuple(Badge().query(pool, batch_size=3, seed=seed).tolist())] += 1
    common = [key for key, count in expected.items() if count >= 5]
    assert sum(expected[key] for key in common) > 2900
    distance = sum((seen[key] - expected[key]) ** 2 / expected[key] for key in common)
    assert distance < chi2.ppf(0.999, len(common))


def test_where_no_gradient_differs_all_have_the_same_chance() -> None:
    rng = np.random.default_rng(4)
    among = np.array([True, False, True, True, False])
    hits = np.bincount([draw(np.zeros(5), among, rng) for _ in range(3000)], minlength=5)
    assert hits[~among].sum() == 0
    assert np.abs(hits[among] - 1000).max() < 4.5 * np.sqrt(3000 * 2 / 9)
    certain = make_pool(4, 20, probabilities=np.tile([1.0, 0, 0, 0], (20, 1)))
    assert sorted(Badge().query(certain, batch_size=20)) == list(range(20))


def test_what_has_no_weight_is_never_drawn() -> None:
    class Last:
        """The largest number below 1 that a generator gives, and the least."""

        def __init__(self, value: float) -> None:
            self.value = value

        def random(self) -> float:
            return self.value

    weights, among = np.array([0, 0.3, 0, 0.1, 0.7]), np.array([True, True, True, True, False])
    for value, row in ((0.0, 1), (0.74, 1), (0.76, 3), (1 - 2**-53, 3)):
        assert draw(weights, among, Last(value)) == row  # type: ignore[arg-type]


def test_badge_chooses_copies_after_all_that_differ() -> None:
    pool = make_pool(5, 30)
    assert pool.features is not None and pool.probabilities is not None
    copies = make_pool(
        5,
        90,
        features=np.tile(pool.features, (3, 1)),
        probabilities=np.tile(pool.probabilities, (3, 1)),
    )
    for seed in range(10):
        picks = Badge().query(copies, batch_size=90, seed=seed)
        assert sorted(picks[:30] % 30) == list(range(30))
        assert sorted(picks) == list(range(90))


def test_images_held_play_no_part_in_badge() -> None:
    held = np.array([0, 7, 30, 31, 59])
    beside = make_pool(6, labeled=held)
    without = make_pool(6, candidates=np.setdiff1d(np.arange(60), held))
    for seed in range(5):
        picks = Badge().query(beside, batch_size=20, seed=seed).tolist()
        assert Badge().query(without, batch_size=20, seed=seed).tolist() == picks


def test_badge_takes_features_as_long_as_they_are() -> None:
    pool = make_pool(7)
    assert pool.features is not None
    longer = np.array(pool.features)
    longer[17] *= 100
    assert Badge().query(make_pool(7, features=longer), batch_size=1).tolist() == [17]
    assert Badge().query(pool, batch_size=1).tolist() != [17]


def test_the_draws_of_badge_depend_on_the_seed_and_not_on_threads() -> None:
    rng = np.random.default_rng(8)
    features = rng.normal(size=(2500, 64)).astype(np.float32)
    pool = make_pool(8, 2500, features=features)
    with threadpool_limits(1):
        alone = Badge().query(pool, batch_size=60, seed=1).tolist()
    with threadpool_limits(4):
        assert Badge().query(pool, batch_size=60, seed=1).tolist() == alone
    assert Badge().query(pool, batch_size=60, seed=2).tolist() != alone


@pytest.mark.parametrize(
    ("strategy", "absent", "sentence"),
    [
        (LeastConfidence(), "probabilities", "least_confidence needs the predictions of a trained"),
        (Margin(), "probabilities", "margin needs the predictions of a trained run"),
        (Entropy(), "probabilities", "entropy needs the predictions of a trained run"),
        (Badge(), "probabilities", "badge needs the predictions of a trained run"),
        (Badge(), "features", "badge needs embeddings"),
        (Instability(), "history", "instability needs a run's predictions at its last evaluations"),
    ],
)
def test_missing_evidence_is_named(strategy: Strategy, absent: str, sentence: str) -> None:
    known: dict[str, Any] = {absent: None}
    with pytest.raises(DataError, match=sentence):
        strategy.query(make_pool(0, **known), batch_size=2)
