"""`ret` and `agr-entropy`: formulas against scipy; who trains on with what, and what that shows."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, spearmanr
from sklearn.metrics import roc_auc_score
from torch import nn

from fmsel.datasets import ImageDataset, WeakAugment, load_dataset
from fmsel.errors import DataError, OptionError
from fmsel.metrics import agr, agr_entropy, ret
from fmsel.metrics.evidence import Evidence, Settings, gather
from fmsel.metrics.evidence import crossfit as crossfit_evidence
from fmsel.metrics.evidence import retraining as retraining_evidence
from fmsel.metrics.evidence.crossfit import Crossfit
from fmsel.metrics.evidence.network.predict import predict
from fmsel.metrics.evidence.network.recipe import Recipe
from fmsel.metrics.evidence.network.train import new_network, train_network
from fmsel.metrics.evidence.network.weights import load_weights
from fmsel.metrics.evidence.retraining import Retraining, log_predict

N, C = 12, 4
CPU = Settings(device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return cut(load_dataset("digits"), 120)


def cut(data: ImageDataset, count: int) -> ImageDataset:
    return dataclasses.replace(
        data, images=data.images[:count], labels=data.labels[:count], ids=data.ids[:count]
    )


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three epochs a network, then one."""
    use(monkeypatch, Recipe(arch="small-conv-4", epochs=3, batch=32))


def use(monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> None:
    for module in (crossfit_evidence, retraining_evidence):
        monkeypatch.setattr(module, "recipe_for", lambda data, device, capacity=1.0: recipe)


def predictions(seed: int, repetitions: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(C, 0.4), (repetitions, N)).astype(np.float32)


def of_ensemble(heldout: np.ndarray) -> Evidence:
    crossfit = Crossfit(
        heldout=heldout,
        training_mean=np.zeros(heldout.shape[:2], np.float32),
        networks={},
        parameters=MappingProxyType({}),
    )
    return Evidence(labels=np.zeros(heldout.shape[1], np.int64), parts={"crossfit": crossfit})


def of_retraining(before: np.ndarray, after: np.ndarray) -> Evidence:
    part = Retraining(before=before, after=after, parameters={})
    return Evidence(labels=np.zeros(before.shape[1], np.int64), parts={"retraining": part})


@given(st.integers(0, 50))
def test_ret_is_minus_the_symmetric_divergence_of_scipy(seed: int) -> None:
    before, after = np.random.default_rng(seed).dirichlet(np.ones(C), (2, 3, N))
    both = entropy(before, after, axis=2) + entropy(after, before, axis=2)
    expected = -both.mean(axis=0) / 2
    scores = ret.score(of_retraining(np.log(before), np.log(after)))
    np.testing.assert_allclose(scores, expected, rtol=1e-9)


def test_ret_neither_ties_nor_overflows_where_probabilities_vanish() -> None:
    """exp(-150) is 0 in float32; the divergence to it is still 75, and to exp(-300) it is 150."""
    before = np.array([[[0.0, -150.0], [0.0, -150.0], [0.0, -150.0]]], np.float32)
    after = np.array([[[0.0, -150.0], [-150.0, 0.0], [-300.0, 0.0]]], np.float32)
    scores = ret.score(of_retraining(before, after))
    np.testing.assert_allclose(scores, [0.0, -150.0, -225.0])


@given(st.integers(0, 50), st.integers(2, 5))
def test_agr_entropy_is_the_generalised_divergence(seed: int, repetitions: int) -> None:
    """As the mean divergence of each prediction from their mean, by scipy."""
    nets = predictions(seed, repetitions).astype(np.float64)
    expected = -entropy(nets, nets.mean(axis=0, keepdims=True), axis=2).mean(axis=0)
    np.testing.assert_allclose(agr_entropy.score(of_ensemble(nets)), expected, atol=1e-9)


@given(st.integers(0, 50))
def test_of_two_networks_it_is_their_jensen_shannon_divergence(seed: int) -> None:
    nets = predictions(seed, 2).astype(np.float64)
    expected = [-(jensenshannon(nets[0, i], nets[1, i]) ** 2) for i in range(N)]
    scores = agr_entropy.score(of_ensemble(nets))
    np.testing.assert_allclose(scores, expected, atol=1e-9)
    np.testing.assert_allclose(scores, -agr.jensen_shannon(*nets), atol=1e-9)


def test_of_three_networks_it_ranks_otherwise_than_agr() -> None:
    """Two sure networks against one, or all three a little apart."""
    split = np.array([[0.98, 0.01, 0.01], [0.98, 0.01, 0.01], [0.01, 0.98, 0.01]])
    apart = 0.8 * np.eye(3) + 0.2 / 3
    case = of_ensemble(np.stack([split, apart], axis=1))
    by_pairs, by_entropy = agr.score(case), agr_entropy.score(case)
    ratios = by_entropy / by_pairs
    assert ratios[0] != pytest.approx(ratios[1], rel=0.05)
    many = of_ensemble(np.random.default_rng(0).dirichlet(np.full(C, 0.4), (3, 500)))
    assert 0.9 < spearmanr(agr.score(many), agr_entropy.score(many)).statistic < 0.999


def test_agr_entropy_is_bounded_by_the_logarithm_of_the_number_of_networks() -> None:
    same, opposed = np.eye(C)[[0, 0, 0]], np.eye(C)[[0, 1, 2]]
    scores = agr_entropy.score(of_ensemble(np.stack([same, opposed], axis=1)))
    assert scores == pytest.approx([0.0, -np.log(3)])


def test_agr_entropy_needs_two_networks() -> None:
    with pytest.raises(OptionError, match="needs 2 networks that held an image out, got 1"):
        agr_entropy.score(of_ensemble(predictions(0, 1)))


@pytest.mark.parametrize("flip", [False, True])
def test_log_predict_is_the_logarithm_of_predict(digits: ImageDataset, flip: bool) -> None:
    data = dataclasses.replace(digits, weak=WeakAugment(flip=flip, shift=0))
    model = new_network(data, Recipe(arch="small-conv-4"), 0, torch.device("cpu"))
    done: list[float] = []
    chosen = np.arange(7, 60)
    logs = log_predict(model, data, chosen, "fp32", done.append)
    expected = predict(
        model, data, chosen, device=torch.device("cpu"), precision="fp32", advance=done.append
    )
    np.testing.assert_allclose(np.exp(logs), expected, rtol=1e-4)
    assert done[0] == done[1]


def test_each_network_goes_on_with_what_it_held_out_and_predicts_what_it_began_with(
    digits: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble = gather(digits, ["crossfit"], CPU).get(Crossfit)
    heads = {n.weights["head.weight"].tobytes(): n for n in ensemble.networks.values()}
    seen: list[Recipe] = []

    def check(
        data: ImageDataset,
        *,
        train_on: np.ndarray,
        start: Mapping[str, np.ndarray],
        recipe: Recipe,
        **rest: object,
    ) -> nn.Module:
        network = heads[start["head.weight"].tobytes()]
        np.testing.assert_array_equal(train_on, np.flatnonzero(network.held_out))
        seen.append(recipe)
        return train_network(data, train_on=train_on, start=start, recipe=recipe, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(retraining_evidence, "train_network", check)
    part = gather(digits, ["retraining"], CPU).get(Retraining)
    assert len(seen) == len(heads) == 6
    assert all(recipe.epochs == 1 and recipe.peak_lr < 0.2 for recipe in seen)
    for (r, _), network in ensemble.networks.items():
        model = new_network(digits, network.recipe, 1, torch.device("cpu"))
        load_weights(model, network.weights)
        began_with = np.flatnonzero(~network.held_out)
        expected = predict(
            model,
            digits,
            began_with,
            device=torch.device("cpu"),
            precision="fp32",
            advance=lambda _: None,
        )
        np.testing.assert_allclose(np.exp(part.before[r, began_with]), expected, rtol=1e-4)
    np.testing.assert_allclose(np.exp(part.after).sum(axis=2), 1, rtol=1e-4)
    assert not np.isclose(part.before, part.after).all(axis=2).any()


def test_finished_retraining_is_kept_until_something_it_depends_on_changes(
    digits: ImageDataset, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_cache() -> int:
        return int(
            gather(digits, ["retraining"], CPU).get(Retraining).parameters["networks_from_cache"]
        )

    first = gather(digits, ["retraining"], CPU).get(Retraining)
    again = gather(digits, ["retraining"], CPU).get(Retraining)
    assert again.parameters["networks_from_cache"] == 6
    np.testing.assert_array_equal(first.after, again.after)
    monkeypatch.setattr(retraining_evidence, "RATE", 0.1)
    assert from_cache() == 0
    monkeypatch.setattr(crossfit_evidence, "TRAINER", crossfit_evidence.TRAINER + 1)
    assert from_cache() == 0


def test_ret_finds_images_that_were_learned_by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong label can only be memorised; the network forgets it when it trains on."""
    use(monkeypatch, Recipe(arch="small-conv-8", epochs=20, batch=20))
    monkeypatch.setattr(crossfit_evidence, "CAPACITIES", (1.0,))
    data = cut(load_dataset("digits"), 200)
    wrong = np.arange(200) % 10 == 0
    labels = np.where(wrong, (data.labels + 1) % 10, data.labels)
    noisy = gather(dataclasses.replace(data, labels=labels), ["retraining"], CPU)
    auc = roc_auc_score(wrong, -ret.score(noisy))
    assert auc > 0.7, auc


def test_unlabelled_images_are_refused_before_any_work(digits: ImageDataset) -> None:
    unlabelled = dataclasses.replace(digits, labels=np.full(120, -1))
    with pytest.raises(DataError, match="trains on labels"):
        retraining_evidence.plan(unlabelled, CPU)
