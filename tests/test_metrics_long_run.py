"""Forgetting, area under the margin, variance of gradients, prediction depth: by loop and by hand.

Also the long run that they share: what it records, what it keeps, and that it goes on.
"""

import dataclasses
from collections.abc import Callable
from itertools import count, pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import zscore
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.errors import DataError
from fmsel.metrics import aum, forgetting, prediction_depth, vog
from fmsel.metrics.evidence import Evidence, Settings, input_gradients, layer_neighbours, long_run
from fmsel.metrics.evidence.input_gradients import InputGradients, input_gradient
from fmsel.metrics.evidence.layer_neighbours import (
    LayerNeighbours,
    layer_activations,
    neighbours,
    probe,
)
from fmsel.metrics.evidence.long_run import Checkpoint, LongRun, margin
from fmsel.metrics.evidence.network.recipe import Recipe, learning_rates
from fmsel.metrics.evidence.network.train import train_network
from fmsel.metrics.evidence.network.weights import weights_of
from fmsel.metrics.scores.score import score_dataset
from fmsel.training.engine.optim import sgd
from fmsel.training.networks.build import build_network

CPU = Settings(device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return first(load_dataset("digits"), 96)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(arch="small-conv-4", epochs=3, batch=20)
    monkeypatch.setattr(long_run, "recipe_for", lambda data, device: recipe)


def first(data: ImageDataset, size: int) -> ImageDataset:
    return dataclasses.replace(
        data, images=data.images[:size], labels=data.labels[:size], ids=data.ids[:size]
    )


def make_runs(data: ImageDataset, settings: Settings = CPU) -> LongRun:
    return long_run.make(data, long_run.plan(data, settings), settings, {})


def runs_of(
    margins: np.ndarray, recipe: Recipe | None = None, checkpoints: tuple[Checkpoint, ...] = ()
) -> LongRun:
    return LongRun(
        margins=margins.astype(np.float32),
        recipe=recipe or Recipe(),
        checkpoints=checkpoints,
        key="",
        parameters={"checkpoints": []},
    )


def case(part: object, labels: np.ndarray | None = None) -> Evidence:
    none = np.zeros(0, np.int64)
    return Evidence(labels=none if labels is None else labels, parts={"part": part})


# What training records


def test_margins_and_weights_are_those_of_the_training(
    digits: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded again by the test: a loop over the logits, a copy of the weights each epoch."""
    margins: dict[int, list[tuple[int, float]]] = {}
    weights: dict[tuple[int, int], np.ndarray] = {}
    rates: dict[int, list[float]] = {}
    seeds: list[int] = []

    def record(
        data: ImageDataset,
        *,
        observe: Callable[[Tensor, Tensor], None],
        after_epoch: Callable[[int, nn.Module], None],
        seed: int,
        **rest: object,
    ) -> nn.Module:
        seeds.append(seed)

        def both(indices: Tensor, logits: Tensor) -> None:
            observe(indices, logits)
            rates.setdefault(seed, []).append(optimisers[-1].param_groups[0]["lr"])
            for i, row in zip(indices.tolist(), logits.numpy(), strict=True):
                label = data.labels[i]
                gap = row[label] - np.delete(row, label).max()
                margins.setdefault(seed, []).append((i, gap))

        def keep(epoch: int, model: nn.Module) -> None:
            after_epoch(epoch, model)
            weights[seed, epoch + 1] = weights_of(model)["head.weight"]

        return train_network(data, observe=both, after_epoch=keep, seed=seed, **rest)  # type: ignore[arg-type]

    optimisers: list[torch.optim.Optimizer] = []

    def spy(*args: object, **kwargs: object) -> torch.optim.Optimizer:
        optimisers.append(sgd(*args, **kwargs))  # type: ignore[arg-type]
        return optimisers[-1]

    monkeypatch.setattr("fmsel.metrics.evidence.network.train.sgd", spy)
    monkeypatch.setattr(long_run, "train_network", record)
    made = make_runs(digits)
    assert made.margins.shape == (2, 6, 96) and made.recipe.epochs == 6
    assert [c.epoch for c in made.checkpoints] == [1, 2, 4, 5, 6] * 2
    for run, seed in enumerate(seeds):
        again = np.array(margins[seed]).reshape(6, 96, 2)
        for epoch in range(6):
            order = again[epoch, :, 0].astype(int)
            np.testing.assert_allclose(made.margins[run, epoch, order], again[epoch, :, 1])
        steps = np.array(rates[seed]).reshape(6, -1)
        before = 0
        for checkpoint in (c for c in made.checkpoints if c.run == run):
            expected = weights[seed, checkpoint.epoch]
            np.testing.assert_array_equal(checkpoint.weights["head.weight"], expected)
            assert checkpoint.lr == pytest.approx(steps[before : checkpoint.epoch].mean())
            before = checkpoint.epoch
    assert len(set(seeds)) == 2


def test_the_mean_rate_of_a_cycle_is_half_its_peak() -> None:
    """A triangle of height h over its base has the mean h / 2; one step in 1,000 is left out."""
    rates = learning_rates(Recipe(epochs=10, batch=10, peak_lr=0.4), 1_000)
    assert rates.shape == (10, 100)
    assert rates.max() == pytest.approx(0.4) and rates.mean() == pytest.approx(0.2, rel=2e-3)


def test_interrupted_runs_go_on_and_give_the_same(
    digits: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_runs(digits, dataclasses.replace(CPU, cache=False))
    calls = count()

    def stops_at_second(*args: object, **kwargs: object) -> object:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return train_network(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(long_run, "train_network", stops_at_second)
    with pytest.raises(KeyboardInterrupt):
        make_runs(digits)
    resumed = make_runs(digits)
    assert resumed.parameters["runs_from_cache"] == 1
    np.testing.assert_array_equal(resumed.margins, whole.margins)
    for left, right in zip(resumed.checkpoints, whole.checkpoints, strict=True):
        assert (left.run, left.epoch, left.lr) == (right.run, right.epoch, right.lr)
        np.testing.assert_array_equal(left.weights["head.weight"], right.weights["head.weight"])
    assert resumed.key == whole.key == long_run.run_key(digits, CPU)
    assert resumed.key != long_run.run_key(digits, dataclasses.replace(CPU, seed=1))


def test_what_follows_the_runs_is_cached_too(
    digits: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"long_run": make_runs(digits)}
    kinds = (input_gradients, "input_gradient"), (layer_neighbours, "layer_features")
    for kind, worker in kinds:
        planned = kind.plan(digits, CPU)
        once = kind.make(digits, planned, CPU, made)
        monkeypatch.setattr(kind, worker, None)  # calling it would fail
        again = kind.make(digits, planned, CPU, made)
        assert again.parameters["jobs_from_cache"] == len(planned.work)
        for field in set(vars(once)) - {"parameters"}:
            np.testing.assert_array_equal(getattr(again, field), getattr(once, field))


def test_work_planned_is_the_work_told(digits: ImageDataset, short: None) -> None:
    """The progress bar ends where the plan says."""
    layers = layer_neighbours.plan(digits, CPU)
    assert len(layers.work) == 2 * len(layer_neighbours.layer_widths(digits, CPU)) == 12
    told: list[float] = []
    model = build_network("small-conv-4", n_classes=10, image_side=8, bn_momentum=0.1, seed=0)
    features = layer_neighbours.layer_features(model, 1, digits, "fp32", told.append)
    neighbours(features, 5, told.append)
    assert sum(told) == pytest.approx(layers.work[0, 1])


def test_unlabelled_images_and_a_single_class_are_refused(digits: ImageDataset) -> None:
    unlabelled = dataclasses.replace(digits, labels=np.full(96, -1))
    single = dataclasses.replace(digits, labels=np.zeros(96, np.int64), class_names=("zero",))
    for kind in (long_run, input_gradients, layer_neighbours):
        with pytest.raises(DataError, match="a long run trains on labels"):
            kind.plan(unlabelled, CPU)
        with pytest.raises(DataError, match="has only the class 'zero', and margins compare two"):
            kind.plan(single, CPU)


# Forgetting and area under the margin


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(2, 9), st.floats(0, 1))
def test_forgetting_by_loop(seed: int, runs: int, epochs: int, rate: float) -> None:
    right = np.random.default_rng(seed).random((runs, epochs, 8)) < rate
    scores = forgetting.score(case(runs_of(np.where(right, 1.0, -1.0))))
    for i in range(8):
        events, wrong = 0, 0
        for run in range(runs):
            history = [bool(right[run, epoch, i]) for epoch in range(epochs)]
            wrong += history.count(False)
            forgotten = sum(a and not b for a, b in pairwise(history))
            events += forgotten if any(history) else epochs // 2 + 1
        assert scores[i] == pytest.approx(-events - 0.5 * wrong / (runs * epochs))


@given(st.lists(st.booleans(), min_size=2, max_size=11).filter(any))
def test_never_learned_is_worse_than_any_forgetting(history: list[bool]) -> None:
    never = [False] * len(history)
    margins = np.where(np.array([history, never]).T[None], 1.0, -1.0)
    learned, unlearned = forgetting.score(case(runs_of(margins)))
    assert unlearned < learned


def test_aum_by_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(2, 5, 7, 4)), rng.integers(0, 4, 7)
    margins = np.array(
        [
            [margin(torch.tensor(epoch), torch.tensor(labels)).numpy() for epoch in run]
            for run in logits
        ]
    )
    scores = aum.score(case(runs_of(margins)))
    for i, label in enumerate(labels):
        gaps = [row[label] - np.delete(row, label).max() for row in logits[:, :, i].reshape(-1, 4)]
        assert scores[i] == pytest.approx(np.mean(gaps), abs=1e-6)


# Variance of gradients


def test_input_gradient_by_finite_differences(seed: int) -> None:
    model = build_network("small-conv-4", n_classes=3, image_side=8, bn_momentum=0.1, seed=seed)
    model.eval()
    rng = torch.Generator().manual_seed(seed)
    views = torch.rand(2, 3, 8, 8, generator=rng) * 2 - 1
    labels = torch.tensor([2, 0])
    gradients = input_gradient(model, views, labels, "fp32")
    exact, step = model.double(), 1e-5
    for image in range(2):
        for row, column in ((0, 0), (3, 4), (7, 7)):
            moved = views[image].double().repeat(2, 1, 1, 1)
            moved[:, :, row, column] += torch.tensor([[step], [-step]])
            logits = exact(moved)[:, labels[image]]
            # All three channels move at once, and the gradient is their mean.
            slope = (logits[0] - logits[1]) / (2 * step) / 3
            assert gradients[image, row, column].item() == pytest.approx(slope.item(), abs=1e-5)


def test_vog_of_linear_models_is_the_deviation_of_their_weights(
    digits: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    def linear(*_: object) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))

    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(2, 5, 10, 3, 8, 8)).astype(np.float32)
    checkpoints = tuple(
        Checkpoint(
            run=run,
            epoch=k + 1,
            lr=0.1,
            weights={"1.weight": weights[run, k].reshape(10, -1), "1.bias": np.zeros(10)},
        )
        for run in range(2)
        for k in range(5)
    )
    monkeypatch.setattr(input_gradients, "new_network", linear)
    monkeypatch.setattr(input_gradients, "CHUNK", 40)
    monkeypatch.setattr(input_gradients, "BATCH", 17)
    runs = runs_of(np.zeros((2, 5, 96)), checkpoints=checkpoints)
    planned = input_gradients.plan(digits, CPU)
    made = input_gradients.make(digits, planned, CPU, {"long_run": runs})
    of_class = weights.mean(axis=3).std(axis=1).mean(axis=(2, 3))  # (R, C)
    np.testing.assert_allclose(made.variation, of_class[:, digits.labels], rtol=1e-5)
    assert len(planned.work) == 6


def test_vog_is_standardised_within_each_class(seed: int) -> None:
    rng = np.random.default_rng(seed)
    raw, labels = rng.random((2, 20), dtype=np.float32), np.arange(20) % 3
    labels[0] = 7  # alone in its class
    part = InputGradients(variation=raw, parameters={})
    scores = vog.score(case(part, labels))
    assert scores[0] == 0
    for label in range(3):
        members = labels == label
        expected = -zscore(raw.mean(axis=0, dtype=np.float64)[members])
        np.testing.assert_allclose(scores[members], expected, atol=1e-9)


# Prediction depth


def test_probes_agree_with_scikit_learn_fitted_to_all_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 80)
    features = rng.normal(labels[:, None], 1.5, (80, 5)).astype(np.float32)
    share, right = probe(labels[neighbours(features, 6, lambda _: None)], labels, 4)
    assert 0 < right.sum() < 80
    assert (right & (share <= 0.5)).any()  # the most votes, though no majority
    for i in range(80):
        rest = np.arange(80) != i
        model = KNeighborsClassifier(6).fit(features[rest], labels[rest])
        votes = model.predict_proba(features[i : i + 1])[0]
        assert share[i] == pytest.approx(votes[labels[i]])
        assert right[i] == (votes[labels[i]] > np.delete(votes, labels[i]).max())


def test_an_image_is_not_its_own_neighbour_among_many_copies() -> None:
    found = neighbours(np.ones((9, 4), np.float32), 3, lambda _: None)
    assert found.shape == (9, 3)
    assert not (found == np.arange(9)[:, None]).any()


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 6))
def test_depth_by_its_definition(seed: int, runs: int, layers: int) -> None:
    """The first layer from which on all are right; with it first, the share only breaks ties."""
    rng = np.random.default_rng(seed)
    right, share = rng.random((runs, layers, 9)) < 0.7, rng.random((runs, layers, 9))
    depths = [
        [min(start for start in range(layers + 1) if right[run, start:, i].all()) for i in range(9)]
        for run in range(runs)
    ]
    part = LayerNeighbours(right=right, share=share.astype(np.float32), parameters={})
    scores = prediction_depth.score(case(part))
    keys = list(zip(-np.sum(depths, axis=0), share.mean(axis=(0, 1)), strict=True))
    assert np.argsort(scores).tolist() == sorted(range(9), key=lambda i: keys[i])
    np.testing.assert_array_equal(np.ceil(scores * runs - 0.5 - 1e-9), -np.sum(depths, axis=0))


def test_layers_are_what_each_layer_reads() -> None:
    """From the image through a residual sum to the softmax."""
    model = build_network("resnet9-4", n_classes=5, image_side=32, bn_momentum=0.1, seed=0).eval()
    views = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        layers = layer_activations(model, views, "fp32")
        assert [each.shape[1] for each in layers] == [192, 256, 512, 512, 512, 256, 512, 512, 32, 5]
        blocks = views.reshape(2, 3, 8, 4, 8, 4).mean(dim=(3, 5))
        torch.testing.assert_close(layers[0], blocks.flatten(1))
        entered = model.stage1(model.stem(views))  # type: ignore[operator]
        summed = F.avg_pool2d(entered + model.residual1(entered), 2)  # type: ignore[operator]
        torch.testing.assert_close(layers[4], summed.flatten(1))
        torch.testing.assert_close(layers[9], model(views).softmax(dim=1))
        torch.testing.assert_close(model.head(layers[8]).softmax(dim=1), layers[9])


def test_fewer_neighbours_where_classes_are_small(digits: ImageDataset) -> None:
    sizes = ((96, 8), (20, 1), (5, 1))
    assert [layer_neighbours.neighbour_count(first(digits, n)) for n, _ in sizes] == [8, 1, 1]
    assert layer_neighbours.neighbour_count(load_dataset("digits")) == 30


# All together


def test_flipped_labels_fall_to_the_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(arch="small-conv-8", epochs=5, batch=16)
    monkeypatch.setattr(long_run, "recipe_for", lambda data, device: recipe)
    clean = first(load_dataset("digits"), 240)
    flipped = np.arange(240) % 15 == 0
    labels = np.where(flipped, (clean.labels + 3) % 10, clean.labels)
    noisy = dataclasses.replace(clean, labels=labels)
    made = score_dataset(noisy, ["forgetting", "aum", "prediction-depth", "vog"], CPU)
    for name, least in (("forgetting", 0.9), ("aum", 0.97), ("prediction-depth", 0.9)):
        assert roc_auc_score(~flipped, made.array(name)) > least, name
    assert {record.label_use for record in made.records.values()} == {"formula"}
    seconds = made.records["vog"].compute_seconds
    assert set(seconds) == {"long_run", "input_gradients"}
    assert seconds["long_run"] > 0 <= seconds["input_gradients"]  # a tenth, perhaps rounded to 0
