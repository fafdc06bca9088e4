"""The loss, the fixed rule, the batches and the configuration."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fmsel.errors import OptionError
from fmsel.fixmatch.batches import EpochSampler
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.loss import fixmatch_loss, supervised_loss
from fmsel.fixmatch.presets import (
    CPU,
    CPU_TINY,
    FAST,
    PAPER,
    PRESETS,
    configure,
    preset,
    preset_name,
)
from fmsel.fixmatch.rules import PseudoLabels, RuleContext, WeakView, make_rule, rule_names

CPU_DEVICE = torch.device("cpu")


def test_loss_equals_equations_3_and_4(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, weak, strong = (rng.normal(0, 3, (n, 5)).astype(np.float32) for n in (6, 40, 40))
    labels = rng.integers(0, 5, 6)

    def log_softmax(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        wide = x.astype(np.float64)
        total: npt.NDArray[np.float64] = np.exp(wide).sum(axis=1, keepdims=True)
        return wide - np.log(total)

    probability = np.exp(log_softmax(weak))
    used = probability.max(axis=1) >= 0.8
    assert 0 < used.sum() < 40  # both cases occur
    each = -log_softmax(strong)[np.arange(40), probability.argmax(axis=1)]
    labelled = -log_softmax(logits)[np.arange(6), labels].mean()
    unlabelled = (each * used).sum() / 40

    context = RuleContext(threshold=0.8, n_classes=5, n_unlabelled=40, device=CPU_DEVICE)
    view = WeakView(
        logits=torch.from_numpy(weak),
        labelled_logits=torch.from_numpy(logits),
        index=torch.arange(40),
    )
    pseudo = make_rule("fixed", context)(view)
    losses = fixmatch_loss(
        torch.from_numpy(logits), torch.from_numpy(labels), torch.from_numpy(strong), pseudo, 2.0
    )
    assert losses.labelled.item() == pytest.approx(labelled, rel=1e-5)
    assert losses.unlabelled.item() == pytest.approx(unlabelled, rel=1e-5)
    assert losses.total.item() == pytest.approx(labelled + 2 * unlabelled, rel=1e-5)
    alone = supervised_loss(torch.from_numpy(logits), torch.from_numpy(labels))
    assert alone.total.item() == pytest.approx(labelled, rel=1e-5)


def test_masked_images_have_no_gradient() -> None:
    strong = torch.zeros(2, 3, requires_grad=True)
    pseudo = PseudoLabels(torch.tensor([0, 1]), torch.tensor([0.0, 1.0]))
    loss = fixmatch_loss(torch.zeros(1, 3), torch.tensor([0]), strong, pseudo, 1.0)
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert strong.grad is not None
    assert not strong.grad[0].any()
    assert strong.grad[1].tolist() == pytest.approx([1 / 6, -1 / 3, 1 / 6])


@settings(deadline=None)
@given(
    n=st.integers(1, 12),
    batch=st.integers(1, 30),
    step=st.integers(0, 20),
    seed=st.integers(0, 2**32),
)
def test_batches_cut_an_endless_row_of_permutations(
    n: int, batch: int, step: int, seed: int
) -> None:
    sampler = EpochSampler(n, batch, seed, "order")
    row = torch.cat([sampler(k) for k in range(step + 1)])
    assert torch.equal(EpochSampler(n, batch, seed, "order")(step), row[-batch:])
    for epoch in row[: len(row) // n * n].view(-1, n):
        assert sorted(epoch.tolist()) == list(range(n))


def test_orders_of_two_seeds_differ() -> None:
    first, second = (EpochSampler(100, 100, seed, "order")(0) for seed in (0, 1))
    assert not torch.equal(first, second)


def test_defaults_are_the_papers() -> None:
    assert FixMatchConfig() == PAPER
    assert (PAPER.steps, PAPER.batch, PAPER.mu, PAPER.threshold) == (1048576, 64, 7, 0.95)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("side", [8, 32])
def test_config_round_trip(name: str, side: int) -> None:
    config = preset(name, side)
    assert FixMatchConfig.from_dict(config.as_dict()) == config
    assert preset_name(config, side) == name
    assert preset_name(dataclasses.replace(config, lr=0.123), side) is None


def test_fast_is_the_papers_network_in_fewer_steps() -> None:
    changed = {"steps": 75_000, "rule": "freematch", "schedule": "sgdr", "eval_every": 500}
    assert dataclasses.replace(PAPER, **changed) == FAST  # type: ignore[arg-type]
    rate = FAST.learning_rate
    assert rate(0) == PAPER.lr
    assert rate(37_500) == pytest.approx(PAPER.lr / 2)
    assert rate(74_999) == pytest.approx(0, abs=1e-9)


def test_presets_follow_device_and_size() -> None:
    assert preset("cpu", 8) is CPU_TINY
    assert preset("cpu", 32) is CPU
    assert configure(None, 32, "cpu", {"lr": None}) == CPU
    assert configure("paper", 32, "cpu", {"lr": 0.1}) == dataclasses.replace(PAPER, lr=0.1)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"batch": -3}, "batch=-3 must be at least 1"),
        ({"mu": 0}, "mu=0 must be at least 1"),
        ({"eval_every": 0}, "eval_every=0 must be at least 1"),
        ({"lr": 0.0}, "lr=0.0 must be above 0"),
        ({"lr": float("nan")}, "lr=nan must be finite"),
        ({"momentum": 1.0}, r"momentum=1.0 must be in \[0, 1\)"),
        ({"ema_decay": 1.5}, r"ema_decay=1.5 must be in \[0, 1\)"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0 must be at least 0"),
        ({"lambda_u": -1.0}, "lambda_u=-1.0 must be at least 0"),
        ({"threshold": 1.5}, "threshold=1.5 must be a probability, 0..1"),
        ({"bn_momentum": 0.0}, r"bn_momentum=0.0 must be in \(0, 1\]"),
        ({"rule": "magic"}, "unknown rule 'magic'; use one of adamatch"),
        ({"arch": "magic"}, "unknown arch 'magic'"),
        ({"magic": 1}, "unknown setting magic; known: "),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        FixMatchConfig.from_dict(settings)


def test_unknown_preset_is_refused() -> None:
    sentence = "unknown preset 'huge'; use one of paper, fast, cpu, smoke"
    with pytest.raises(OptionError, match=sentence):
        preset("huge", 32)


@pytest.mark.parametrize("name", rule_names())
def test_every_rule_keeps_its_contract(name: str) -> None:
    context = RuleContext(threshold=0.5, n_classes=4, n_unlabelled=50, device=CPU_DEVICE)
    generator = torch.Generator().manual_seed(0)
    view = WeakView(
        logits=3 * torch.randn(20, 4, generator=generator),
        labelled_logits=torch.randn(8, 4, generator=generator),
        index=torch.randperm(50, generator=generator)[:20],
    )
    rule, twin = make_rule(name, context), make_rule(name, context)
    rule(view)
    twin.load_state_dict(rule.state_dict())
    first, second = rule(view), twin(view)
    assert first.targets.shape == first.weights.shape == (20,)
    assert first.targets.dtype == torch.int64 and first.weights.dtype == torch.float32
    assert first.targets.min() >= 0 and first.targets.max() < 4
    assert first.weights.min() >= 0 and first.weights.max() <= 1
    assert torch.equal(first.targets, second.targets)
    assert torch.equal(first.weights, second.weights)
