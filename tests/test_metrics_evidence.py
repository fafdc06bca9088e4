"""The cross-fitted ensemble on digits: folds, what is held out, cache, and that it ranks well."""

import dataclasses
from collections.abc import Mapping
from itertools import count
from threading import Lock

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from torch import Tensor, nn

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.errors import DataError
from fmsel.metrics.evidence import Settings, gather
from fmsel.metrics.evidence import crossfit as crossfit_evidence
from fmsel.metrics.evidence.crossfit import Crossfit
from fmsel.metrics.evidence.network import recipe
from fmsel.metrics.evidence.network.folds import stratified_folds
from fmsel.metrics.evidence.network.recipe import Recipe
from fmsel.metrics.evidence.network.train import Observe, new_network, train_network
from fmsel.metrics.evidence.network.weights import weights_of
from fmsel.metrics.scores.score import score_dataset
from fmsel.training.networks.network import Network


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs a network, for tests that are not about how well it ranks."""
    monkeypatch.setattr(
        crossfit_evidence,
        "recipe_for",
        lambda data, device, capacity: Recipe(
            arch=f"small-conv-{round(8 * capacity)}", epochs=2, batch=32
        ),
    )


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as many steps, which rank well enough."""
    monkeypatch.setattr(recipe, "MIN_STEPS", recipe.MIN_STEPS // 2)


def make(data: ImageDataset, settings: Settings) -> Crossfit:
    return crossfit_evidence.make(data, crossfit_evidence.plan(data, settings), settings, {})


@pytest.fixture(scope="module")
def some(digits: ImageDataset) -> ImageDataset:
    """Enough digits for networks that rank well, at the cost of fewer than all."""
    return first(digits, 600)


@pytest.fixture
def small(digits: ImageDataset) -> ImageDataset:
    return first(digits, 200)


def first(data: ImageDataset, count: int) -> ImageDataset:
    return dataclasses.replace(
        data, images=data.images[:count], labels=data.labels[:count], ids=data.ids[:count]
    )


def test_folds_spread_every_class_evenly(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 5, 203)
    folds = stratified_folds(labels, 3, np.random.default_rng(seed))
    for label in range(5):
        counts = np.bincount(folds[labels == label], minlength=3)
        assert counts.max() - counts.min() <= 1
    assert set(folds) == {0, 1, 2}


def test_every_image_is_predicted_only_by_networks_that_held_it_out(
    small: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network knows what it was trained on: that must never be among what it predicts."""
    trained: dict[bytes, np.ndarray] = {}

    def remember(data: ImageDataset, *, train_on: np.ndarray, **rest: object) -> nn.Module:
        model = train_network(data, train_on=train_on, **rest)  # type: ignore[arg-type]
        trained[_fingerprint(model)] = train_on
        return model

    def mark(model: nn.Module, data: ImageDataset, indices: np.ndarray, **_: object) -> np.ndarray:
        assert not np.intersect1d(trained[_fingerprint(model)], indices).size
        assert len(trained[_fingerprint(model)]) + len(indices) == len(data)
        return np.repeat(indices.astype(np.float32)[:, None], data.n_classes, axis=1)

    monkeypatch.setattr(crossfit_evidence, "train_network", remember)
    monkeypatch.setattr(crossfit_evidence, "predict", mark)
    made = make(small, Settings(device="cpu"))
    everyone = np.arange(200, dtype=np.float32)
    for repetition in range(3):
        np.testing.assert_array_equal(made.heldout[repetition, :, 0], everyone)
        assert (made.training_mean[repetition] > 0).all()
    assert len(trained) == 6
    counts = sum(np.bincount(each, minlength=200) for each in trained.values())
    np.testing.assert_array_equal(counts, 3)
    for network in made.networks.values():
        key = _fingerprint(network.weights)
        np.testing.assert_array_equal(np.flatnonzero(~network.held_out), trained[key])


def _fingerprint(source: nn.Module | Mapping[str, np.ndarray]) -> bytes:
    weights = weights_of(source) if isinstance(source, nn.Module) else source
    return weights["head.weight"].tobytes()


def test_training_mean_is_what_the_network_gave_while_training(
    small: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded again by the test, batch by batch, from the logits alone."""
    sums = np.zeros((3, 200))
    lock = Lock()

    def record(
        data: ImageDataset, *, observe: Observe, recipe: Recipe, **rest: object
    ) -> nn.Module:
        row = ["small-conv-6", "small-conv-8", "small-conv-10"].index(recipe.arch)

        def both(indices: Tensor, logits: Tensor) -> None:
            observe(indices, logits)
            own = softmax(logits.numpy(), axis=1)[np.arange(len(indices)), data.labels[indices]]
            with lock:
                np.add.at(sums[row], indices.numpy(), own / 2)

        return train_network(data, observe=both, recipe=recipe, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(crossfit_evidence, "train_network", record)
    made = make(small, Settings(device="cpu"))
    np.testing.assert_allclose(made.training_mean, sums, atol=1e-6)


def test_interrupted_ensemble_goes_on_with_the_next_network(
    small: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(small, Settings(device="cpu", cache=False))
    calls = count()

    def stops_at_third(*args: object, **kwargs: object) -> object:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return train_network(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(crossfit_evidence, "train_network", stops_at_third)
    with pytest.raises(KeyboardInterrupt):
        make(small, Settings(device="cpu"))
    resumed = make(small, Settings(device="cpu"))
    # The worker may begin a fourth network before the interruption reaches it.
    assert resumed.parameters["networks_from_cache"] in (2, 3)
    np.testing.assert_array_equal(resumed.heldout, whole.heldout)
    np.testing.assert_array_equal(resumed.training_mean, whole.training_mean)


def test_digits_scores_agree_with_logistic_regression(some: ImageDataset, half: None) -> None:
    """Images that a held-out linear model gets wrong are outliers for the ensemble too."""
    flat = some.images[..., 0].reshape(len(some), -1) / 255
    model = LogisticRegression(max_iter=500)
    wrong = cross_val_predict(model, flat, some.labels, cv=5) != some.labels
    made = score_dataset(some, settings=Settings(device="cpu"))
    assert made.records["conf"].parameters["crossfit"]["heldout_accuracy"] > 0.95
    for name in ("self-confidence", "epoch-confidence", "conf", "agr"):
        scores = made.array(name)
        assert scores[wrong].mean() < scores[~wrong].mean() - scores.std() / 2, name


def test_leave_one_out_on_digits(digits: ImageDataset) -> None:
    made = score_dataset(digits, ["leave-one-out"], settings=Settings(device="cpu"))
    record = made.records["leave-one-out"]
    accuracy = record.parameters["patch_regression"]["leave_one_out_accuracy"]
    assert accuracy == pytest.approx((made.array("leave-one-out") > 0).mean(), abs=0.005)
    assert accuracy > 0.95


def test_flipped_labels_fall_to_the_bottom(some: ImageDataset, half: None) -> None:
    labels = some.labels.copy()
    flipped = np.arange(0, len(labels), 20)
    labels[flipped] = (labels[flipped] + 1) % 10
    noisy = dataclasses.replace(some, labels=labels)
    for name in ("self-confidence", "leave-one-out"):
        scores = score_dataset(noisy, [name], settings=Settings(device="cpu")).array(name)
        low = np.argsort(scores)[: len(flipped)]
        assert len(np.intersect1d(low, flipped)) > 0.6 * len(flipped), name


def test_wide_networks_of_a_gpu_scale_the_features_that_their_head_reads(
    small: ImageDataset,
) -> None:
    """Without it they learn badly at the recipe's rate: benchmarks/results/gpu-recipe-*."""
    large = dataclasses.replace(small, images=small.images.repeat(2, axis=1).repeat(2, axis=2))
    wide, slim = (recipe.recipe_for(large, torch.device(kind)) for kind in ("cuda", "cpu"))
    assert (wide.arch, slim.arch) == ("resnet9-64", "small-conv-32")
    for chosen, scale in ((wide, 0.125), (slim, 1.0)):
        network = new_network(large, chosen, 0, torch.device("cpu"))
        assert isinstance(network, Network) and network.feature_scale == scale


def test_unlabelled_images_are_refused(small: ImageDataset) -> None:
    unlabelled = dataclasses.replace(small, labels=np.full(200, -1))
    for name, reason in (("conf", "trains on labels"), ("leave-one-out", "regresses on labels")):
        with pytest.raises(DataError, match=reason):
            score_dataset(unlabelled, [name], settings=Settings(device="cpu"))


def test_class_with_one_image_is_named(small: ImageDataset) -> None:
    labels = np.where(np.arange(200) == 0, 7, small.labels * (small.labels != 7))
    with pytest.raises(DataError, match="class '7' has 1 training images"):
        gather(dataclasses.replace(small, labels=labels), ["crossfit"], Settings(device="cpu"))


def test_precision_changes_the_cache_key(small: ImageDataset, short: None) -> None:
    said: list[str] = []
    for precision in ("fp32", "fp32", "bf16"):
        gather(
            small,
            ["crossfit"],
            Settings(device="cpu", precision=precision, say=said.append),
        )
    assert [line.split()[1] for line in said] == ["6", "from", "6"]
