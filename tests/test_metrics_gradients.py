"""Gradient norms against autograd one image at a time; el2n, grand and self-influence from them."""

import dataclasses
from itertools import count
from types import MappingProxyType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.errors import DataError
from fmsel.metrics import el2n, grand, self_influence
from fmsel.metrics.evidence import Evidence, Settings, influence, long_run
from fmsel.metrics.evidence import early as early_evidence
from fmsel.metrics.evidence.early import Early
from fmsel.metrics.evidence.influence import Influence
from fmsel.metrics.evidence.long_run import Checkpoint, LongRun
from fmsel.metrics.evidence.network.gradients import error_norms, image_gradient_norms
from fmsel.metrics.evidence.network.recipe import Recipe
from fmsel.metrics.evidence.network.train import new_network, train_network
from fmsel.metrics.evidence.network.weights import weights_of
from fmsel.metrics.scores.score import score_dataset
from fmsel.training.networks.build import build_network
from fmsel.training.networks.wide_resnet import SameConv

CPU = torch.device("cpu")
EXACT = Settings(device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


@pytest.fixture
def small(digits: ImageDataset) -> ImageDataset:
    return first(digits, 60)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Tiny networks, trained for 2 epochs in a short run and for 9 in a long one."""
    recipe = Recipe(arch="small-conv-8", epochs=5, batch=16)
    for module in (early_evidence, long_run):
        monkeypatch.setattr(module, "recipe_for", lambda data, device: recipe)
    return recipe


def first(data: ImageDataset, size: int) -> ImageDataset:
    return dataclasses.replace(
        data, images=data.images[:size], labels=data.labels[:size], ids=data.ids[:size]
    )


def ignore(_: float) -> None:
    """No progress."""


def one_by_one(model: nn.Module, views: Tensor, labels: Tensor) -> Tensor:
    """Each image alone, its whole gradient."""
    norms = []
    for view, label in zip(views, labels, strict=True):
        loss = F.cross_entropy(model(view[None]), label[None])
        whole = torch.autograd.grad(loss, list(model.parameters()))
        norms.append(torch.cat([part.flatten() for part in whole]).norm())
    return torch.stack(norms)


@pytest.mark.parametrize(
    ("arch", "side", "scale"),
    [("small-conv-4", 8, 1), ("small-conv-4", 16, 1), ("resnet9-4", 16, 1), ("resnet9-4", 16, 0.3)],
)
def test_norms_equal_autograd_image_by_image(arch: str, side: int, scale: float, seed: int) -> None:
    """In float64, after batch norm's statistics and scales have left their initial values."""
    rng = torch.Generator().manual_seed(seed)
    model = build_network(arch, n_classes=4, image_side=side, bn_momentum=0.1, seed=seed).double()
    model.feature_scale = scale
    model(torch.randn(20, 3, side, side, generator=rng, dtype=torch.float64))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng)
    views = torch.randn(5, 3, side, side, generator=rng, dtype=torch.float64)
    labels = torch.randint(0, 4, (5,), generator=rng)
    logits, norms = image_gradient_norms(model.eval(), views, labels)
    torch.testing.assert_close(norms, one_by_one(model, views, labels), rtol=1e-12, atol=0)
    torch.testing.assert_close(logits, model(views).detach(), rtol=1e-12, atol=1e-14)


@given(
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    side=st.integers(4, 7),
    bias=st.booleans(),
)
@settings(max_examples=60)
def test_any_convolution(
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: int,
    padding: tuple[int, int],
    side: int,
    bias: bool,
) -> None:
    """Few positions and many, so that both forms of the norm are met."""
    rng = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)
    views = torch.randn(3, inputs, side, side, generator=rng, dtype=torch.float64)
    model = nn.Sequential(conv, nn.ReLU(inplace=True), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    for parameter in model.double().parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    labels = torch.randint(0, outputs, (3,), generator=rng)
    _, norms = image_gradient_norms(model, views, labels)
    torch.testing.assert_close(norms, one_by_one(model, views, labels), rtol=1e-10, atol=1e-12)


def test_layer_of_another_kind_is_not_passed_over() -> None:
    model = nn.Sequential(SameConv(3, 2, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    with pytest.raises(KeyError, match="SameConv"):
        image_gradient_norms(model, torch.zeros(1, 3, 8, 8), torch.tensor([0]))


def test_linear_model_has_the_closed_form(small: ImageDataset, seed: int) -> None:
    """Softmax regression: GraNd is EL2N times the norm of the features and a one."""
    rng = np.random.default_rng(seed)
    weight, bias = 0.2 * rng.normal(size=(10, 192)), rng.normal(size=10)
    layer = nn.Linear(192, 10)
    layer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    norms = error_norms(
        nn.Sequential(nn.Flatten(), layer), small, device=CPU, precision="fp32", advance=ignore
    )
    flat = small.images.transpose(0, 3, 1, 2).reshape(60, -1) / 127.5 - 1
    wrong = softmax(flat @ weight.T + bias, axis=1) - np.eye(10)[small.labels]
    el2n_norm = np.linalg.norm(wrong, axis=1)
    np.testing.assert_allclose(norms.error, el2n_norm, rtol=1e-4, atol=1e-6)
    features = np.sqrt((flat**2).sum(axis=1) + 1)
    np.testing.assert_allclose(norms.gradient, el2n_norm * features, rtol=1e-4, atol=1e-5)


def test_scores_by_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors, norms = rng.random((3, 7), np.float32), 5 * rng.random((3, 7), np.float32)
    rates = np.array([0.1, 0.2, 0.05])
    case = Evidence(
        labels=np.zeros(7, np.int64),
        parts={
            "early": Early(errors=errors, gradients=norms, parameters=MappingProxyType({})),
            "influence": Influence(gradients=norms, rates=rates, runs=2, parameters={}),
        },
    )
    for i in range(7):
        assert el2n.score(case)[i] == pytest.approx(-sum(errors[:, i]) / 3)
        assert grand.score(case)[i] == pytest.approx(-sum(norms[:, i]) / 3)
        dropped = sum(rates[k] * norms[k, i] ** 2 for k in range(3))
        assert self_influence.score(case)[i] == pytest.approx(-dropped / 2)


def test_early_measures_the_finished_networks_of_all_runs(
    small: ImageDataset, short: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[nn.Module] = []

    def remember(*args: object, **kwargs: object) -> nn.Module:
        finished.append(train_network(*args, **kwargs))  # type: ignore[arg-type]
        return finished[-1]

    monkeypatch.setattr(early_evidence, "train_network", remember)
    made = make_early(small, EXACT)
    assert made.parameters["epochs"] == 2
    assert len({weights_of(model)["head.weight"].tobytes() for model in finished}) == 10
    views = torch.tensor(small.images).permute(0, 3, 1, 2) * (2 / 255) - 1
    labels = torch.tensor(small.labels)
    for r in (0, 9):
        probabilities = softmax(finished[r](views).detach().numpy(), axis=1)
        errors = np.linalg.norm(probabilities - np.eye(10)[small.labels], axis=1)
        np.testing.assert_allclose(made.errors[r], errors, rtol=1e-4, atol=1e-6)
        norms = one_by_one(finished[r], views, labels).numpy()
        np.testing.assert_allclose(made.gradients[r], norms, rtol=1e-3)


def make_early(data: ImageDataset, how: Settings) -> Early:
    return early_evidence.make(data, early_evidence.plan(data, how), how, {})


def test_interrupted_short_runs_go_on_with_the_next(
    small: ImageDataset, short: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_early(small, dataclasses.replace(EXACT, cache=False))
    calls = count()

    def stops_at_third(*args: object, **kwargs: object) -> object:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return train_network(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(early_evidence, "train_network", stops_at_third)
    with pytest.raises(KeyboardInterrupt):
        make_early(small, EXACT)
    resumed = make_early(small, EXACT)
    # The worker may begin a fourth run before the interruption reaches it.
    assert resumed.parameters["runs_from_cache"] in (2, 3)
    np.testing.assert_array_equal(resumed.errors, whole.errors)
    np.testing.assert_array_equal(resumed.gradients, whole.gradients)


def long_run_of(data: ImageDataset, recipe: Recipe) -> LongRun:
    """Fresh networks in place of trained ones, each with a rate of its own."""
    checkpoints = [
        Checkpoint(
            run=i // long_run.CHECKPOINTS,
            epoch=1 + i % long_run.CHECKPOINTS,
            lr=0.01 * (i + 1),
            weights=weights_of(new_network(data, recipe, seed=i, device=CPU)),
        )
        for i in range(long_run.RUNS * long_run.CHECKPOINTS)
    ]
    return LongRun(
        margins=np.zeros((long_run.RUNS, long_run.CHECKPOINTS, len(data)), np.float32),
        recipe=recipe,
        checkpoints=tuple(checkpoints),
        key="",
        parameters={},
    )


def test_self_influence_sums_over_checkpoints_and_resumes(
    small: ImageDataset, short: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = long_run_of(small, short)
    plan = influence.plan(small, EXACT)
    made = influence.make(small, plan, EXACT, {"long_run": runs})
    views = torch.tensor(small.images).permute(0, 3, 1, 2) * (2 / 255) - 1
    labels = torch.tensor(small.labels)
    expected = np.zeros(60)
    for i, checkpoint in enumerate(runs.checkpoints):
        model = new_network(small, short, seed=i, device=CPU).eval()
        expected -= checkpoint.lr * one_by_one(model, views, labels).numpy() ** 2 / 2
    scores = self_influence.score(Evidence(labels=small.labels, parts={"influence": made}))
    np.testing.assert_allclose(scores, expected, rtol=1e-4)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("all is in the cache")

    monkeypatch.setattr(influence, "error_norms", never)
    again = influence.make(small, plan, EXACT, {"long_run": runs})
    assert again.parameters["jobs_from_cache"] == long_run.RUNS * long_run.CHECKPOINTS
    np.testing.assert_array_equal(again.gradients, made.gradients)


def test_cache_names_follow_what_the_outputs_depend_on(
    small: ImageDataset, short: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    relabelled = dataclasses.replace(small, labels=(small.labels + 1) % 10)
    for kind in (early_evidence, influence):
        names = set(kind.plan(small, EXACT).names.values())
        assert len(names) == 10
        others = [
            kind.plan(relabelled, EXACT),
            kind.plan(small, dataclasses.replace(EXACT, seed=1)),
            kind.plan(small, dataclasses.replace(EXACT, precision="bf16")),
        ]
        for module in (early_evidence, long_run):
            longer = dataclasses.replace(short, epochs=10)
            monkeypatch.setattr(module, "recipe_for", lambda data, device, to=longer: to)
        others.append(kind.plan(small, EXACT))
        for other in others:
            assert names.isdisjoint(other.names.values())
        for module in (early_evidence, long_run):
            monkeypatch.setattr(module, "recipe_for", lambda data, device: short)


def test_short_runs_are_short(digits: ImageDataset, small: ImageDataset) -> None:
    """Also on few images, which need many epochs to be learned by heart."""
    assert early_evidence.early_recipe(digits, CPU).epochs == 10
    assert early_evidence.early_recipe(small, CPU).epochs == 15


def test_flipped_labels_sink(digits: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    data = first(digits, 400)
    flipped = np.arange(400) % 20 == 0
    noisy = dataclasses.replace(data, labels=(data.labels + flipped) % 10)
    recipe = Recipe(arch="small-conv-8", epochs=20, batch=32)
    for module in (early_evidence, long_run):
        monkeypatch.setattr(module, "recipe_for", lambda data, device: recipe)
    monkeypatch.setattr(early_evidence, "RUNS", 3)
    monkeypatch.setattr(long_run, "RUNS", 1)
    monkeypatch.setattr(long_run, "STRETCH", 1.0)
    made = score_dataset(noisy, ["el2n", "grand", "self-influence"], Settings(device="cpu"))
    area = {name: roc_auc_score(~flipped, made.array(name)) for name in made.arrays}
    print("area under the curve:", {name: round(value, 3) for name, value in area.items()})
    assert area["el2n"] > 0.95
    assert area["grand"] > 0.95
    assert area["self-influence"] > 0.8


def test_images_without_a_label_are_refused(small: ImageDataset) -> None:
    labels = np.where(np.arange(60) == 3, -1, small.labels)
    unlabelled = dataclasses.replace(small, labels=labels)
    for name, reason in (("el2n", "error of a given label"), ("self-influence", "without a label")):
        with pytest.raises(DataError, match=reason):
            score_dataset(unlabelled, [name], EXACT)
