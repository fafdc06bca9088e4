"""Minimum-norm attacks against closed forms, linear and quadratic programs, and foolbox."""

import dataclasses
import math
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest
import torch
from foolbox.attacks.base import MinimizationAttack
from foolbox.attacks.ddn import DDNAttack
from foolbox.attacks.fast_minimum_norm import LInfFMNAttack
from foolbox.criteria import Misclassification, TargetedMisclassification
from foolbox.distances import l2, linf
from foolbox.models.pytorch import PyTorchModel
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.errors import DataError
from fmsel.metrics import adv, adv_linf
from fmsel.metrics.evidence import Evidence, Settings, gather
from fmsel.metrics.evidence import crossfit as crossfit_evidence
from fmsel.metrics.evidence.adversarial import AdversarialL2
from fmsel.metrics.evidence.adversarial_linf import AdversarialLinf
from fmsel.metrics.evidence.attack import networks as attacks
from fmsel.metrics.evidence.attack.minimum_norm import Norm, signed_distance
from fmsel.metrics.evidence.crossfit import Crossfit
from fmsel.metrics.evidence.network.recipe import Recipe
from fmsel.metrics.evidence.network.train import forward, new_network, train_network
from fmsel.metrics.evidence.network.weights import load_weights
from fmsel.metrics.scores.score import score_dataset

NORMS: tuple[Norm, ...] = ("L2", "Linf")
SHAPE = (3, 4, 4)
D = math.prod(SHAPE)


@dataclasses.dataclass(frozen=True)
class Linear:
    """A linear classifier of 3 x 4 x 4 images, and images with labels."""

    weights: np.ndarray  # (C, D)
    bias: np.ndarray  # (C,)
    images: np.ndarray  # (N, D)
    labels: np.ndarray  # (N,)

    def __call__(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1) @ torch.tensor(self.weights.T) + torch.tensor(self.bias)

    def attack(self, norm: Norm, iterations: int) -> tuple[np.ndarray, np.ndarray]:
        images = torch.tensor(self.images).view(-1, *SHAPE)
        found = signed_distance(self, images, torch.tensor(self.labels), norm, iterations)
        return found[0].numpy(), found[1].numpy()

    def rows(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """(C - 1, D) gradients and (C - 1,) values of the margins of image i over each class."""
        own = self.labels[i]
        gradients = np.delete(self.weights[own] - self.weights, own, axis=0)
        values = gradients @ self.images[i] + np.delete(self.bias[own] - self.bias, own)
        return gradients.astype(np.float64), values.astype(np.float64)


def linear(seed: int, classes: int, low: float, high: float, images: int = 20) -> Linear:
    """Images uniform in [low, high], clipped to the box."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(classes, D))
    pixels = rng.uniform(low, high, (images, D)).clip(0, 1)
    return Linear(
        weights=weights.astype(np.float32),
        bias=(-weights @ np.full(D, (low + high) / 2)).astype(np.float32),
        images=pixels.astype(np.float32),
        labels=rng.integers(0, classes, images),
    )


@settings(max_examples=20)
@given(st.integers(0, 1_000))
def test_two_linear_classes_give_the_margin_over_the_dual_norm(seed: int) -> None:
    case = linear(seed, classes=2, low=0.4, high=0.6)
    for norm, dual in zip(NORMS, (2, 1), strict=True):
        rows = [case.rows(i) for i in range(len(case.labels))]
        closed = [values[0] / np.linalg.norm(gradients[0], dual) for gradients, values in rows]
        found, failed = case.attack(norm, 20)
        assert not failed.any()
        np.testing.assert_allclose(found, closed, rtol=0.01, atol=1e-5)


def smallest(image: np.ndarray, gradients: np.ndarray, values: np.ndarray, norm: Norm) -> float:
    """Smallest change inside the box with gradients @ change <= -values, by a solver."""
    if norm == "Linf":
        both = np.concatenate([np.eye(D), -np.eye(D)])
        found = linprog(
            np.eye(D + 1)[D],
            A_ub=np.block([[gradients, np.zeros((len(values), 1))], [both, -np.ones((2 * D, 1))]]),
            b_ub=np.concatenate([-values, np.zeros(2 * D)]),
            bounds=[*zip(-image, 1 - image, strict=True), (0, None)],
        )
        return float(found.fun) if found.success else math.inf
    found = minimize(
        lambda change: change @ change,
        -values[0] * gradients[0] / (gradients[0] @ gradients[0]),
        jac=lambda change: 2 * change,
        constraints={
            "type": "ineq",
            "fun": lambda change: -values - gradients @ change,
            "jac": lambda _: -gradients,
        },
        bounds=list(zip(-image, 1 - image, strict=True)),
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-12},
    )
    return float(np.sqrt(found.fun)) if found.success else math.inf


@pytest.mark.parametrize("norm", NORMS)
def test_linear_classes_in_an_active_box_agree_with_solvers(norm: Norm, seed: int) -> None:
    """Out of a region: the nearest of C - 1 half-spaces. Into it: where they all meet.

    An attack that follows the gradient may stop at the class that the image is first drawn to,
    where another is a little nearer; that is rare.
    """
    case = linear(seed, classes=4, low=-0.5, high=1.5, images=24)
    nearest, first = np.empty((2, len(case.labels)))
    for i, image in enumerate(case.images.astype(np.float64)):
        gradients, values = case.rows(i)
        if values.min() > 0:
            pairs = zip(gradients, values, strict=True)
            ways = [smallest(image, g[None], v[None], norm) for g, v in pairs]
            nearest[i], first[i] = min(ways), ways[values.argmin()]
        else:
            nearest[i] = first[i] = smallest(image, -gradients, -values, norm)
        assert np.isfinite(nearest[i])
    found, failed = case.attack(norm, 100)
    assert not failed.any()
    assert (abs(found) > 0.999 * nearest).all()
    assert (abs(found) < 1.01 * first).all()
    assert (abs(found) < 1.01 * nearest).mean() > 0.9


@settings(max_examples=20)
@given(st.integers(0, 100), st.sampled_from([0.25, 16.0]))
def test_distances_do_not_depend_on_the_scale_of_the_logits(seed: int, scale: float) -> None:
    case = linear(seed, classes=3, low=-0.2, high=1.2)
    scaled = dataclasses.replace(case, weights=case.weights * scale, bias=case.bias * scale)
    for norm in NORMS:
        plain, same = case.attack(norm, 10), scaled.attack(norm, 10)
        np.testing.assert_allclose(same[0], plain[0], rtol=1e-5)
        np.testing.assert_array_equal(same[1], plain[1])


def test_a_network_that_never_changes_its_mind_fails_at_the_farthest_corner() -> None:
    """Class 0 everywhere: a flat margin, so there is nothing to follow."""
    flat = np.zeros((2, D), np.float32)
    case = Linear(
        weights=flat,
        bias=np.array([1, 0], np.float32),
        images=np.full((2, D), 0.25, np.float32),
        labels=np.array([0, 1]),
    )
    for norm, farthest in zip(NORMS, (0.75 * math.sqrt(D), 0.75), strict=True):
        found, failed = case.attack(norm, 5)
        assert failed.all()
        assert found == pytest.approx([farthest, -farthest])


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def network(digits: ImageDataset) -> nn.Module:
    return train_network(
        digits,
        train_on=np.arange(400),
        recipe=Recipe(arch="small-conv-8", epochs=8, batch=32),
        seed=0,
        device=torch.device("cpu"),
        precision="fp32",
        advance=lambda _: None,
    ).requires_grad_(False)


class OnPixels(nn.Module):
    """A network of images in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return forward(self.network, 2 * pixels - 1, "fp32")


@pytest.mark.parametrize(
    ("norm", "library", "distance"),
    [
        ("L2", DDNAttack(steps=60), l2),
        ("Linf", LInfFMNAttack(steps=60), linf),
    ],
    ids=NORMS,
)
def test_as_near_as_foolbox_on_a_trained_network(
    digits: ImageDataset,
    network: nn.Module,
    norm: Norm,
    library: MinimizationAttack,
    distance: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """A third of the labels are wrong, and are entered: the library's targeted attack."""
    held_out = slice(400, 460)
    pixels = torch.tensor(digits.images[held_out]).permute(0, 3, 1, 2).float().contiguous() / 255
    labels = torch.tensor(digits.labels[held_out])
    labels[::3] = (labels[::3] + 1) % 10
    model = OnPixels(network).eval()
    inside = model(pixels).argmax(dim=1) == labels
    theirs = torch.empty(len(labels))
    for chosen, criterion in (
        (inside, Misclassification),
        (~inside, TargetedMisclassification),
    ):
        reached, _, success = library(
            PyTorchModel(model, bounds=(0, 1), device="cpu"),
            pixels[chosen],
            criterion(labels[chosen]),
            epsilons=None,
        )
        assert success.all()
        theirs[chosen] = distance(pixels[chosen], reached)
    ours, failed = signed_distance(model, pixels, labels, norm, 60)
    assert not failed.any()
    assert torch.equal(ours > 0, inside)
    ratio = (ours.abs() / theirs).numpy()
    assert np.median(ratio) < 1.01
    assert np.exp(np.log(ratio).mean()) < 1.03
    assert spearmanr(ours.abs(), theirs).statistic > 0.95


@pytest.fixture
def small(digits: ImageDataset) -> ImageDataset:
    return dataclasses.replace(
        digits, images=digits.images[:100], labels=digits.labels[:100], ids=digits.ids[:100]
    )


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short trainings of tiny networks, and few iterations."""
    monkeypatch.setattr(
        crossfit_evidence,
        "recipe_for",
        lambda data, device, capacity: Recipe(
            arch=f"small-conv-{round(8 * capacity)}", epochs=4, batch=16
        ),
    )
    monkeypatch.setattr(attacks, "ITERATIONS", 8)


CPU = Settings(device="cpu")


def test_each_network_is_attacked_on_what_it_held_out(small: ImageDataset, short: None) -> None:
    evidence = gather(small, ["adversarial", "adversarial_linf"], CPU)
    pixels = torch.tensor(small.images).permute(0, 3, 1, 2).float() / 255
    labels = torch.tensor(small.labels)
    found_by: dict[Norm, AdversarialL2 | AdversarialLinf] = {
        "L2": evidence.get(AdversarialL2),
        "Linf": evidence.get(AdversarialLinf),
    }
    failures: dict[Norm, list[bool]] = {"L2": [], "Linf": []}
    for norm, part in found_by.items():
        assert part.distances.shape == (3, 100) and part.distances.dtype == np.float32
        for (r, f), each in evidence.get(Crossfit).networks.items():
            model = new_network(small, each.recipe, 1, torch.device("cpu")).eval()
            load_weights(model, each.weights)
            mine = torch.tensor(each.held_out)
            found, failed = signed_distance(OnPixels(model), pixels[mine], labels[mine], norm, 8)
            failures[norm] += failed.tolist()
            got = part.distances[r, each.held_out]
            # The other batch size rounds differently, and 8 iterations may amplify that.
            assert np.isclose(got, found.numpy(), rtol=0.01).mean() > 0.95, (norm, r, f)
            with torch.no_grad():
                right = OnPixels(model)(pixels[mine]).argmax(dim=1) == labels[mine]
            np.testing.assert_array_equal(got > 0, right.numpy())
        assert part.parameters["networks"] == 6
        assert part.parameters["failed"] == pytest.approx(np.mean(failures[norm]), abs=0.01)


def test_only_the_norm_asked_for_is_attacked(small: ImageDataset, short: None) -> None:
    said: list[str] = []
    heard = dataclasses.replace(CPU, say=said.append)
    first = score_dataset(small, ["adv-linf"], heard)
    assert set(first.records["adv-linf"].parameters) == {"crossfit", "adversarial_linf"}
    again = score_dataset(small, ["adv", "adv-linf"], heard)
    assert [line.split(":")[0] for line in said] == [
        "crossfit",
        "adversarial_linf",
        "crossfit",
        "adversarial",
        "adversarial_linf",
    ]
    assert "6 of 6 jobs to do" in said[3] and "from the cache" in said[4]
    np.testing.assert_array_equal(first.array("adv-linf"), again.array("adv-linf"))


def test_interrupted_attacks_go_on_with_the_next_network(
    small: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gather(small, ["adversarial"], dataclasses.replace(CPU, cache=False))
    calls, attack = count(), attacks.attack_network

    def stops_at_third(*args: object) -> object:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return attack(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(attacks, "attack_network", stops_at_third)
    with pytest.raises(KeyboardInterrupt):
        gather(small, ["adversarial"], CPU)
    resumed = gather(small, ["adversarial"], CPU).get(AdversarialL2)
    # The worker may finish a fourth network's attack before the interruption reaches it.
    assert resumed.parameters["attacks_from_cache"] in (2, 3)
    np.testing.assert_array_equal(resumed.distances, whole.get(AdversarialL2).distances)


def test_scores_are_means_over_the_networks() -> None:
    distances = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    parts = {
        "adversarial": AdversarialL2(distances=distances, parameters={}),
        "adversarial_linf": AdversarialLinf(distances=-2 * distances, parameters={}),
    }
    evidence = Evidence(labels=np.zeros(7, np.int64), parts=parts)
    mean = [sum(float(row[i]) for row in distances) / 3 for i in range(7)]
    np.testing.assert_allclose(adv.score(evidence), mean, rtol=1e-5)
    np.testing.assert_allclose(adv_linf.score(evidence), [-2 * each for each in mean], rtol=1e-5)


def test_flipped_labels_have_the_lowest_scores(digits: ImageDataset, short: None) -> None:
    labels = digits.labels[:400].copy()
    flipped = np.arange(400) % 20 == 0
    labels[flipped] = (labels[flipped] + 1) % 10
    noisy = dataclasses.replace(
        digits, images=digits.images[:400], labels=labels, ids=digits.ids[:400]
    )
    scores = score_dataset(noisy, ["adv", "adv-linf"], CPU)
    for name in ("adv", "adv-linf"):
        assert len(np.unique(scores.array(name))) == 400  # no ties
        assert roc_auc_score(~flipped, scores.array(name)) > 0.95, name


def test_bad_data_is_refused_before_any_work(small: ImageDataset) -> None:
    alike = dataclasses.replace(small, labels=np.zeros(100, np.int64), class_names=("0",))
    with pytest.raises(DataError, match="has 1 class, so no change of an image leaves it"):
        score_dataset(alike, ["adv"], CPU)
    unlabelled = dataclasses.replace(small, labels=np.full(100, -1), class_names=())
    with pytest.raises(DataError, match="images without a label"):
        score_dataset(unlabelled, ["adv-linf"], CPU)
