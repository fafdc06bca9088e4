"""`noise-tolerance`: the batched, clipped step against loops, and what the heads may read."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.embeddings.patches import PatchConfig, encode
from fmsel.errors import DataError
from fmsel.metrics import noise_tolerance
from fmsel.metrics.evidence import Evidence, Settings
from fmsel.metrics.evidence import noisy_heads as evidence
from fmsel.metrics.evidence.noisy_heads import (
    NoisyHeads,
    NoisyRecipe,
    clipped_gradient,
    components,
    train_heads,
)
from fmsel.metrics.evidence.patches import Patches
from fmsel.metrics.priv import levels_passed

CPU = Settings(device="cpu")
FEW = PatchConfig(filters=16)


@pytest.fixture
def small() -> ImageDataset:
    digits = load_dataset("digits")
    return dataclasses.replace(
        digits, images=digits.images[:300], labels=digits.labels[:300], ids=digits.ids[:300]
    )


def make(data: ImageDataset) -> NoisyHeads:
    """The evidence, from 128 patch features in place of 3,072."""
    patches = Patches(features=encode(data.images, FEW), parameters={})
    return evidence.make(data, evidence.plan(data, CPU), CPU, {"patches": patches})


def train(features: torch.Tensor, labels: torch.Tensor, recipe: NoisyRecipe) -> torch.Tensor:
    """(D, S, C), heads trained on everything."""
    return train_heads(
        features,
        labels,
        train_on=[torch.arange(len(labels))],
        n_classes=3,
        recipe=recipe,
        seed=0,
        advance=lambda _: None,
    )[0]


def test_step_equals_a_loop_over_examples(seed: int) -> None:
    """Autograd's gradient of each example, clipped one by one, then averaged."""
    rng = torch.Generator().manual_seed(seed)
    weights = torch.randn(2, 5, 3, 4, generator=rng, dtype=torch.float64)
    inputs = torch.randn(2, 7, 5, generator=rng, dtype=torch.float64)
    labels = torch.randint(0, 4, (2, 7), generator=rng)
    expected, clipped = torch.zeros_like(weights), 0
    for f, b, s in np.ndindex(2, 7, 3):
        own = weights[f, :, s].clone().requires_grad_()
        loss = F.cross_entropy(inputs[f, b] @ own, labels[f, b])
        (gradient,) = torch.autograd.grad(loss, own)
        factor = min(1.0, 1.5 / gradient.norm().item())
        clipped += factor < 1
        expected[f, :, s] += factor * gradient / 7
    assert 5 < clipped < 37
    torch.testing.assert_close(clipped_gradient(weights, inputs, labels, 1.5), expected)


def test_without_noise_or_clipping_it_is_plain_gradient_descent(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(20, 4, generator=rng, dtype=torch.float64)
    labels = torch.randint(0, 3, (20,), generator=rng)
    recipe = NoisyRecipe(levels=(0.0,), steps=6, sample=1.0, clip=1e9, lr=0.5)
    weights = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([weights], lr=0.5, momentum=recipe.momentum)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / 6)
    for _ in range(6):
        optimiser.zero_grad()
        F.cross_entropy(features @ weights, labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    torch.testing.assert_close(train(features, labels, recipe)[:, 0], weights.detach())


def test_converges_to_logistic_regression(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 150)
    points = rng.normal(size=(150, 2)) + np.array([[0, 1.5], [1.5, 0], [-1, -1]])[labels]
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(points, labels)
    features = torch.tensor(np.hstack([points, np.ones((150, 1))]))
    recipe = NoisyRecipe(levels=(0.0,), steps=1500, sample=1.0, clip=1e9, lr=0.5)
    weights = train(features, torch.tensor(labels), recipe)[:, 0]
    found = (features @ weights).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, model.predict_proba(points), atol=1e-3)


def test_noise_has_the_deviation_of_its_level() -> None:
    features, labels = torch.zeros(30, 4000), torch.zeros(30, dtype=torch.int64)
    recipe = NoisyRecipe(levels=(0.0, 0.1, 0.5), steps=1, clip=0.3, lr=2.0)
    weights = train(features, labels, recipe)
    assert not weights[:, 0].any()
    for level in (1, 2):
        expected = 2.0 * 0.3 * recipe.levels[level]
        assert weights[:, level].std().item() == pytest.approx(expected, rel=0.05)


def test_components_are_those_of_pca(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = (rng.normal(size=(90, 6)) * [5, 4, 3, 2, 1, 0.5] + 3).astype(np.float32)
    model = PCA(4).fit(matrix)
    expected = model.transform(matrix) / model.explained_variance_**0.25
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = components(torch.tensor(matrix), 4).numpy()
    np.testing.assert_allclose(np.abs(found[:, 3::-1]), np.abs(expected), atol=1e-3)
    np.testing.assert_array_equal(found[:, 4], 1)


def test_components_of_fewer_images_than_features_are_finite() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(12, 40)).astype(np.float32)
    found = components(torch.tensor(matrix), 30).numpy()
    assert np.isfinite(found).all()
    assert (np.abs(found[:, :30]).max(axis=0) > 1e-3).sum() == 11


def test_every_image_is_predicted_only_by_heads_that_held_it_out(
    small: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads without a fold all answer that fold's number: then it is known whose answer counts."""
    held_out: list[np.ndarray] = []

    def remember(
        features: torch.Tensor, labels: torch.Tensor, *, train_on: list[torch.Tensor], **_: object
    ) -> torch.Tensor:
        first, second = (set(own.tolist()) for own in train_on)
        assert first.isdisjoint(second) and len(first | second) == len(labels)
        held_out.append(np.isin(np.arange(len(labels)), train_on[0].numpy()).astype(int))
        weights = torch.zeros(2, features.shape[1], 7, 10)
        weights[0, -1, :, 0] = weights[1, -1, :, 1] = 1
        return weights

    monkeypatch.setattr(evidence, "train_heads", remember)
    part = make(small)
    answers = np.array(held_out)  # (R, N), 0 or 1
    assert part.models == len(answers) == 10
    np.testing.assert_array_equal(
        part.right, np.tile((answers == small.labels).sum(axis=0), (7, 1))
    )
    assert len(np.unique(answers, axis=0)) == 10


def test_flipped_labels_fall_to_the_bottom_and_noise_costs_accuracy(small: ImageDataset) -> None:
    labels = small.labels.copy()
    flipped = np.arange(len(labels)) % 20 == 0
    labels[flipped] = (labels[flipped] + 1) % 10
    noisy = dataclasses.replace(small, labels=labels)
    part = make(noisy)
    assert roc_auc_score(flipped, -levels_passed(part.right, part.models)) > 0.9
    accuracy = part.parameters["heldout_accuracy"]
    assert accuracy[0] > 0.75 and accuracy[-1] < accuracy[0] - 0.2
    again = make(noisy)
    assert again.parameters == {**part.parameters, "repetitions_from_cache": 10}
    np.testing.assert_array_equal(again.right, part.right)


def test_score_counts_levels_from_no_noise_up() -> None:
    right = np.array([[10, 8], [9, 10], [3, 10]])
    part = NoisyHeads(right=right, models=10, parameters={})
    made = Evidence(labels=np.zeros(2, np.int64), parts={"noisy_heads": part})
    assert noise_tolerance.score(made) == pytest.approx([2 + 22 / 30, 28 / 30])
    np.testing.assert_array_equal(noise_tolerance.score(made), levels_passed(right, 10))


def test_what_cannot_be_cross_fitted_is_refused(small: ImageDataset) -> None:
    with pytest.raises(DataError, match="noise-tolerance trains on labels"):
        evidence.plan(dataclasses.replace(small, labels=np.full(300, -1)), CPU)
    single = np.where(np.arange(300) == 0, 7, small.labels * (small.labels != 7))
    with pytest.raises(DataError, match="class '7' has 1 training images"):
        evidence.plan(dataclasses.replace(small, labels=single), CPU)
