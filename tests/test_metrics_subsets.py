"""Networks on small subsets: who trains on and is asked about what; `subset-tolerance` by loop."""

import dataclasses
from collections.abc import Callable
from itertools import count

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score
from torch import nn

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.errors import DataError
from fmsel.metrics import subset_tolerance
from fmsel.metrics.evidence import Evidence, Settings, gather
from fmsel.metrics.evidence import crossfit as crossfit_evidence
from fmsel.metrics.evidence import subsets as subsets_evidence
from fmsel.metrics.evidence.crossfit import Crossfit
from fmsel.metrics.evidence.network.recipe import Recipe
from fmsel.metrics.evidence.network.train import train_network
from fmsel.metrics.evidence.subsets import HELD_OUT, Subsets, networks_per_cut, train_and_asked

CPU = Settings(device="cpu", precision="fp32")
SIZES, N = 4, 6


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


def first(data: ImageDataset, chosen: int) -> ImageDataset:
    return dataclasses.replace(
        data, images=data.images[:chosen], labels=data.labels[:chosen], ids=data.ids[:chosen]
    )


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps a network."""
    recipe = Recipe(arch="small-conv-4", epochs=2, batch=32)
    for module in (crossfit_evidence, subsets_evidence):
        monkeypatch.setattr(module, "recipe_for", lambda data, device, capacity=1.0: recipe)
    monkeypatch.setattr(subsets_evidence, "MIN_STEPS", 8)
    monkeypatch.setattr(subsets_evidence, "MIN_EPOCHS", 1)


def make(data: ImageDataset, settings: Settings = CPU) -> Subsets:
    return subsets_evidence.make(data, subsets_evidence.plan(data, settings), settings, {})


@given(
    st.sampled_from(subsets_evidence.DIVISORS),
    st.integers(1, 9),
    st.integers(64, 300),
    st.integers(0, 50),
)
def test_every_image_is_held_out_by_exactly_ten_networks(
    divisor: int, classes: int, images: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, images)
    asked_by = np.zeros(images, int)
    for cut, networks in enumerate(networks_per_cut(divisor)):
        assert 2 <= networks <= divisor
        parts = [train_and_asked(labels, (divisor, cut, fold), seed) for fold in range(networks)]
        for train_on, asked in parts:
            assert not np.intersect1d(train_on, asked).size
            asked_by += np.bincount(asked, minlength=images)
            for label in range(classes):
                exact = (labels == label).sum() / divisor
                assert abs((labels[train_on] == label).sum() - exact) < 1
        together = np.concatenate([train_on for train_on, _ in parts])
        assert len(np.unique(together)) == len(together)
    np.testing.assert_array_equal(asked_by, HELD_OUT)


@given(
    arrays(np.int64, (SIZES - 1, N), elements=st.integers(8, 10)),
    arrays(np.int64, (3, N), elements=st.integers(0, 1)),
)
def test_score_orders_by_smallest_subset_then_by_area(
    right: npt.NDArray[np.int64], wrong_class: npt.NDArray[np.int64]
) -> None:
    """The definition, image by image; float32 as it is stored."""
    shares = np.vstack([right / 10, (wrong_class == 0).mean(axis=0)])
    pairs = []
    for image in shares.T:
        tolerated = [s for s in range(SIZES) if all(share >= 0.9 for share in image[s:])]
        pairs.append((-min(tolerated, default=SIZES), round(image.mean(), 9)))
    scores = subset_tolerance.score(case(right, wrong_class)).astype(np.float32)
    for a in range(N):
        for b in range(N):
            assert (scores[a] < scores[b]) == (pairs[a] < pairs[b])
            assert (scores[a] == scores[b]) == (pairs[a] == pairs[b])


def case(right: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> Evidence:
    """Every label is 0; `predicted` (R, N) are the classes that the ensemble gives."""
    sizes = 10 * 2 ** np.arange(len(right))
    crossfit = Crossfit(
        heldout=np.eye(2, dtype=np.float32)[predicted],
        training_mean=np.zeros(predicted.shape, np.float32),
        networks={},
        parameters={},
    )
    subsets = Subsets(sizes=sizes, right=right, networks=10, parameters={})
    labels = np.zeros(predicted.shape[1], np.int64)
    return Evidence(labels=labels, parts={"subsets": subsets, "crossfit": crossfit})


def test_score_of_the_extremes() -> None:
    """Never right; right from N/2 alone; with one network of ten wrong; always right."""
    right = np.array([[0, 0, 9, 10], [0, 0, 9, 10]])
    halves = np.array([[1, 0, 0, 0]] * 3)
    expected = [0, 1 + 1 / 3, 3 + 2.8 / 3, 4]
    np.testing.assert_allclose(subset_tolerance.score(case(right, halves)), expected)


def test_counts_are_of_right_answers_about_held_out_images(
    digits: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With networks that are right about every third image, whatever they were trained on."""
    data = first(digits, 700)
    steps: list[float] = []

    def train(
        data: ImageDataset, *, train_on: np.ndarray, recipe: Recipe, **_: object
    ) -> nn.Module:
        steps.append(len(train_on) * recipe.epochs)
        return nn.Identity()

    def answer(model: nn.Module, data: ImageDataset, asked: np.ndarray, **_: object) -> np.ndarray:
        assert not data.weak.flip
        steps.append(len(asked) / 3)
        given = (data.labels[asked] + (asked % 3 > 0)) % data.n_classes
        return np.asarray(np.eye(data.n_classes)[given])

    monkeypatch.setattr(subsets_evidence, "train_network", train)
    monkeypatch.setattr(subsets_evidence, "predict", answer)
    made = make(data)
    assert made.sizes.tolist() == [21, 43, 87, 175]
    np.testing.assert_array_equal(made.right, np.tile(10 * (np.arange(700) % 3 == 0), (4, 1)))
    planned = sum(subsets_evidence.plan(data, CPU).work.values())
    assert planned == pytest.approx(sum(steps), rel=0.02)


def test_larger_subsets_teach_more_and_wrong_labels_are_tolerated_least(
    digits: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(arch="small-conv-8", epochs=8, batch=32)
    for module in (crossfit_evidence, subsets_evidence):
        monkeypatch.setattr(module, "recipe_for", lambda data, device, capacity=1.0: recipe)
    monkeypatch.setattr(crossfit_evidence, "CAPACITIES", (1.0,))
    for name, value in {"MIN_STEPS": 40, "DIVISORS": (16, 4), "HELD_OUT": 4}.items():
        monkeypatch.setattr(subsets_evidence, name, value)
    data = first(digits, 400)
    wrong = np.arange(400) % 20 == 0
    labels = np.where(wrong, (data.labels + 1) % 10, data.labels)
    evidence = gather(dataclasses.replace(data, labels=labels), subset_tolerance.NEEDS, CPU)
    small, large = evidence.get(Subsets).right.mean(axis=1)
    assert 1 < small < large - 0.4, (small, large)
    auc = roc_auc_score(wrong, -subset_tolerance.score(evidence))
    assert auc > 0.8, auc


def test_interrupted_subsets_go_on_with_the_next_network(
    digits: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subsets_evidence, "HELD_OUT", 4)
    data = first(digits, 100)
    whole = make(data, dataclasses.replace(CPU, cache=False))
    assert whole.sizes.tolist() == [25]  # below that a class has not two images
    calls = count()

    def stops_at_third(*args: object, **kwargs: object) -> object:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return train_network(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(subsets_evidence, "train_network", stops_at_third)
    with pytest.raises(KeyboardInterrupt):
        make(data)
    resumed = make(data)
    assert resumed.parameters["networks_from_cache"] in (2, 3)
    np.testing.assert_array_equal(resumed.right, whole.right)
    monkeypatch.setattr(subsets_evidence, "MIN_STEPS", 12)
    assert make(data).parameters["networks_from_cache"] == 0


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: dataclasses.replace(data, labels=np.full(100, -1)), "needs labels"),
        (lambda data: first(data, 79), "79 images of 10 classes, but .* needs 8 a class"),
    ],
)
def test_bad_data_is_refused_before_any_work(
    digits: ImageDataset, spoil: Callable[[ImageDataset], ImageDataset], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        subsets_evidence.plan(spoil(first(digits, 100)), CPU)
