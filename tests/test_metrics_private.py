"""`priv`: DP-SGD and its accountant against closed forms, and what the scores find."""

import dataclasses
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from opacus.accountants import RDPAccountant
from opacus.utils.uniform_sampler import UniformWithReplacementSampler
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp, softmax
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.embeddings import gabor
from fmsel.errors import DataError, OptionError
from fmsel.metrics import priv
from fmsel.metrics.evidence import Evidence, Settings, gather
from fmsel.metrics.evidence import private as evidence
from fmsel.metrics.evidence.private import (
    DELTA,
    EPSILONS,
    ORDERS,
    Private,
    PrivateRecipe,
    noise_multiplier,
    train_private,
)
from fmsel.metrics.priv import levels_passed

# What `make` silences too: Opacus speaks of its own search and hooks.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Optimal order is the"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),
]

CPU = Settings(device="cpu")
COUNTS = arrays(
    np.int64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.integers(0, 10)
)


@pytest.fixture
def small() -> ImageDataset:
    digits = load_dataset("digits")
    return dataclasses.replace(
        digits, images=digits.images[:400], labels=digits.labels[:400], ids=digits.ids[:400]
    )


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epsilons and three models each."""
    monkeypatch.setattr(evidence, "EPSILONS", (16.0, 2.0))
    monkeypatch.setattr(evidence, "MODELS", 3)


def make(data: ImageDataset, settings: Settings = CPU) -> Private:
    return gather(data, ["private"], settings).get(Private)


def train(features: torch.Tensor, labels: torch.Tensor, **rest: object) -> tuple[np.ndarray, float]:
    """(C, D + 1) weights with the bias last, and the epsilon spent."""
    options = {"n_classes": 3, "noise": 0.0, "seed": 0, "advance": lambda _: None, **rest}
    head, spent = train_private(features, labels, **options)  # type: ignore[arg-type]
    return torch.cat([head.weight, head.bias[:, None]], dim=1).detach().numpy(), spent


# The score.


@given(COUNTS)
def test_levels_are_counted_from_the_mildest_until_one_fails(right: np.ndarray) -> None:
    scores = levels_passed(right, 10)
    for i, column in enumerate(right.T):
        level = next((g for g, n in enumerate(column) if n < 9), len(column))
        assert scores[i] == pytest.approx(level + sum(column) / (10 * len(column)))


@given(COUNTS, st.data())
def test_one_more_right_model_always_raises_the_score(
    right: np.ndarray, data: st.DataObject
) -> None:
    level = data.draw(st.integers(0, len(right) - 1))
    column = data.draw(st.integers(0, right.shape[1] - 1))
    right[level, column] = min(right[level, column], 9)
    more = right.copy()
    more[level, column] += 1
    assert levels_passed(more, 10)[column] > levels_passed(right, 10)[column]


@given(COUNTS)
def test_no_area_outweighs_a_level(right: np.ndarray) -> None:
    """Images are ordered as the pairs (level, area) are."""
    level = np.array([next((g for g, n in enumerate(c) if n < 9), len(c)) for c in right.T])
    scores = levels_passed(right, 10)
    order = np.lexsort((right.sum(axis=0), level))
    assert (np.diff(scores[order]) >= 0).all()


def test_a_level_without_a_milder_one_does_not_count() -> None:
    right = np.array([[10, 5, 9], [10, 10, 9], [0, 10, 9]])
    part = Private(right=right, models=10, parameters={})
    scores = priv.score(Evidence(labels=np.zeros(3, np.int64), parts={"private": part}))
    assert scores == pytest.approx([2 + 20 / 30, 25 / 30, 3 + 27 / 30])


# The training.


def test_noise_free_training_equals_the_closed_form_clip(seed: int) -> None:
    """Softmax regression: an example's gradient has norm |p - e_y| |[z; 1]|."""
    rng = np.random.default_rng(seed)
    inputs, labels = rng.normal(size=(11, 4)), rng.integers(0, 3, 11)
    recipe = PrivateRecipe(steps=4, sample_rate=1.0, clip=1.4, lr=0.7, momentum=0.6)
    found, _ = train(torch.tensor(inputs), torch.tensor(labels), recipe=recipe)
    extended = np.hstack([inputs, np.ones((11, 1))])
    weights, velocity, clipped = np.zeros((3, 5)), np.zeros((3, 5)), 0
    for step in range(4):
        errors = softmax(extended @ weights.T, axis=1) - np.eye(3)[labels]
        norms = np.linalg.norm(errors, axis=1) * np.linalg.norm(extended, axis=1)
        clipped += (norms > 1.4).sum()
        scaled = errors * np.minimum(1, 1.4 / norms)[:, None]
        velocity = 0.6 * velocity + scaled.T @ extended / 11
        weights -= 0.7 * (1 - step / 4) * velocity
    assert 0 < clipped < 44
    np.testing.assert_allclose(found, weights, rtol=1e-4, atol=1e-6)


def test_noise_has_the_promised_deviation() -> None:
    """Where all features are 0 the weights are noise alone: multiplier x clip / expected batch."""
    recipe = PrivateRecipe(steps=1, sample_rate=0.25, clip=0.3, lr=1.0)
    features, labels = torch.zeros(80, 5000), torch.zeros(80, dtype=torch.int64)
    found, _ = train(features, labels, noise=4.0, recipe=recipe)
    assert found[:, :-1].std() == pytest.approx(4.0 * 0.3 / 20, rel=0.03)
    assert abs(found[:, :-1].mean()) < 0.06 * 4 / np.sqrt(15_000)


def test_batches_are_poisson_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    draw = UniformWithReplacementSampler.__iter__

    def record(self: UniformWithReplacementSampler) -> Iterator[list[int]]:
        for batch in draw(self):
            seen.append(batch)
            yield batch

    monkeypatch.setattr(UniformWithReplacementSampler, "__iter__", record)
    recipe = PrivateRecipe(steps=200, sample_rate=0.2)
    train(torch.zeros(300, 2), torch.zeros(300, dtype=torch.int64), noise=1.0, recipe=recipe)
    sizes = np.array([len(batch) for batch in seen])
    counts = np.bincount(np.concatenate(seen), minlength=300)
    assert len(sizes) == 200 and all(len(set(batch)) == len(batch) for batch in seen)
    variance = 0.2 * 0.8
    assert abs(sizes.mean() - 60) < 5 * np.sqrt(300 * variance / 200)
    assert 0.6 < sizes.var() / (300 * variance) < 1.6  # batches of one size would have none
    assert 0.7 < counts.var() / (200 * variance) < 1.4  # nor would epochs without replacement


def test_empty_batches_are_steps_too() -> None:
    recipe = PrivateRecipe(steps=30, sample_rate=0.01)
    found, spent = train(torch.ones(2, 3), torch.tensor([0, 1]), noise=2.0, recipe=recipe)
    accountant = RDPAccountant()
    accountant.history = [(2.0, 0.01, 30)]
    assert np.isfinite(found).all() and found.any()
    assert spent == pytest.approx(accountant.get_epsilon(DELTA, alphas=ORDERS))


def test_training_depends_on_its_seed_alone() -> None:
    features, labels = (
        torch.randn(20, 3, generator=torch.Generator().manual_seed(0)),
        torch.arange(20) % 3,
    )
    state = torch.get_rng_state()
    recipe = PrivateRecipe(steps=3)
    runs = [train(features, labels, noise=1.0, recipe=recipe, seed=seed)[0] for seed in (4, 4, 5)]
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.allclose(runs[0], runs[2])


# The accountant.


@pytest.mark.parametrize("epsilon", [0.25, 1.0, 8.0])
def test_full_batches_spend_what_the_gaussian_mechanism_does(epsilon: float) -> None:
    """Renyi bound in closed form (Mironov 2017), above the exact one (Balle and Wang 2018)."""
    noise = noise_multiplier(epsilon, PrivateRecipe(steps=50, sample_rate=1.0))
    order = np.array(ORDERS)
    renyi = 50 * order / (2 * noise**2)
    bound = renyi + np.log1p(-1 / order) - np.log(DELTA * order) / (order - 1)
    assert 0.985 * epsilon < bound.min() <= epsilon

    ratio = np.sqrt(50) / noise  # 50 steps are one release with this ratio of signal to noise

    def excess(e: float) -> float:
        first, second = norm.cdf(ratio / 2 - e / ratio), norm.logcdf(-ratio / 2 - e / ratio)
        return float(first - np.exp(e + second) - DELTA)

    exact = brentq(excess, 1e-3, 20)
    assert 0.8 * epsilon < exact < epsilon


@pytest.mark.parametrize(("rate", "noise", "steps"), [(0.16, 7.3, 120), (0.01, 1.1, 100)])
def test_poisson_batches_spend_what_the_binomial_sum_says(
    rate: float, noise: float, steps: int
) -> None:
    """Renyi divergence of the sampled Gaussian at whole orders (Mironov, Talwar and Zhang 2019)."""
    bounds = []
    for order in (o for o in ORDERS if o == int(o)):
        k = np.arange(order + 1)
        choose = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
        weight = choose + (order - k) * np.log1p(-rate) + k * np.log(rate)
        renyi = steps * logsumexp(weight + k * (k - 1) / (2 * noise**2)) / (order - 1)
        bounds.append(renyi + np.log1p(-1 / order) - np.log(DELTA * order) / (order - 1))
    recipe = PrivateRecipe(steps=steps, sample_rate=rate)
    labels = torch.zeros(5, dtype=torch.int64)
    _, spent = train(torch.zeros(5, 2), labels, noise=noise, recipe=recipe)
    assert spent == pytest.approx(min(bounds), rel=1e-6)


def test_noise_grows_with_privacy_and_no_order_of_the_accountant_is_the_last() -> None:
    recipe = PrivateRecipe()
    noises = [noise_multiplier(epsilon, recipe) for epsilon in EPSILONS]
    assert noises == sorted(noises)
    for epsilon, noise in zip(EPSILONS, noises, strict=True):
        accountant = RDPAccountant()
        accountant.history = [(noise, recipe.sample_rate, recipe.steps)]
        spent, order = accountant.get_privacy_spent(delta=DELTA, alphas=ORDERS)
        assert 0.98 * epsilon < spent <= epsilon and min(ORDERS) < order < max(ORDERS)


# The features.


def test_features_of_an_image_depend_on_no_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (10, 12, 12, 3), dtype=np.uint8)
    whole = gabor.encode(images, seed=seed)
    alone = np.concatenate([gabor.encode(images[i : i + 1], seed=seed) for i in range(10)])
    np.testing.assert_allclose(whole, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("image_side", "side"), [(4, 3), (8, 4), (13, 6)])
def test_features_equal_window_by_window(image_side: int, side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, image_side, image_side, 3), dtype=np.uint8)
    assert gabor.filter_side(image_side) == side
    filters = gabor.gabor_filters(5, side, torch.Generator().manual_seed(seed))
    places = image_side - side + 1
    out = np.zeros((3, 2, 5, places, places))
    for n, y, x in np.ndindex(3, places, places):
        window = images[n, y : y + side, x : x + side].transpose(2, 0, 1) / 1.0
        deviation = np.sqrt((window**2).mean() - window.mean() ** 2 + 10)
        response = (filters.numpy() * window).sum(axis=(1, 2, 3)) / deviation
        out[n, 0, :, y, x] = np.maximum(response - 0.5, 0)
        out[n, 1, :, y, x] = np.maximum(-response - 0.5, 0)
    half = -(-places // 2)
    ends = (slice(0, half), slice(places - half, places))
    roots = np.sqrt([out[..., a, b].mean(axis=(-2, -1)) for a in ends for b in ends])
    roots = np.moveaxis(roots, 0, -1).reshape(3, -1)
    centred = roots - roots.mean(axis=1, keepdims=True)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    pixels = torch.tensor(images).permute(0, 3, 1, 2).float()
    np.testing.assert_allclose(gabor._encode(pixels, filters).numpy(), expected, atol=2e-4)


def test_filters_ignore_brightness(seed: int) -> None:
    filters = gabor.gabor_filters(64, 6, torch.Generator().manual_seed(seed)).flatten(1)
    np.testing.assert_allclose(filters.sum(dim=1), 0, atol=1e-5)
    np.testing.assert_allclose(filters.norm(dim=1), 1, atol=1e-5)


def test_an_image_of_one_colour_has_no_features() -> None:
    assert not gabor.encode(np.full((1, 8, 8, 3), 77, np.uint8)).any()


# The whole.


def test_flipped_labels_fall_to_the_bottom(small: ImageDataset, short: None) -> None:
    labels = small.labels.copy()
    flipped = np.arange(len(labels)) % 20 == 0
    labels[flipped] = (labels[flipped] + 1) % 10
    part = make(dataclasses.replace(small, labels=labels))
    scores = levels_passed(part.right, part.models)
    assert roc_auc_score(flipped, -scores) > 0.9
    strong, weak = part.parameters["accuracy"][::-1]
    assert weak > 0.6 and strong < weak - 0.1
    for spent, target in zip(part.parameters["epsilons_spent"], (16.0, 2.0), strict=True):
        assert 0.98 * target < spent <= target


def test_finished_models_come_from_the_cache(
    small: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([5.0, 1005.0])  # before and after the features
    monkeypatch.setattr(evidence, "time", SimpleNamespace(perf_counter=clock.__next__))
    first = gather(small, ["private"], CPU)
    monkeypatch.setattr(gabor, "encode", None)  # so that nothing can be computed anew
    again = gather(small, ["private"], CPU)
    before, after = first.get(Private), again.get(Private)
    np.testing.assert_array_equal(after.right, before.right)
    assert after.parameters == {**before.parameters, "models_from_cache": 6}
    assert 1000 < first.compute_seconds["private"] == again.compute_seconds["private"]


def test_what_cannot_be_trained_on_is_refused(
    small: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlabelled = dataclasses.replace(small, labels=np.full(400, -1))
    alike = dataclasses.replace(small, images=np.repeat(small.images[:1], 400, axis=0))
    tiny = dataclasses.replace(small, images=small.images[:, :3, :3])
    many = dataclasses.replace(
        small,
        images=np.zeros((100_000, 4, 4, 3), np.uint8),
        labels=np.zeros(100_000, np.int64),
        ids=np.arange(100_000).astype(str),
    )
    for data, reason in (
        (unlabelled, "private models train on labels"),
        (alike, "are the same"),
        (tiny, "images of 3 pixels are too small"),
        (many, "100,000 images, and a delta of 1e-05 means nothing"),
    ):
        with pytest.raises(DataError, match=reason):
            evidence.plan(data, CPU)
    monkeypatch.setattr(evidence, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'fmsel\[dp\]'"):
        evidence.plan(small, CPU)


def test_plan_says_that_scores_are_not_private(small: ImageDataset) -> None:
    plan = evidence.plan(small, CPU)
    assert "90 linear heads" in plan.what and "scores themselves are not private" in plan.what
