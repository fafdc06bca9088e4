"""Whole training steps against a plain reference that shares no code with them."""

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmsel.fixmatch.batches import Labelled, Unlabelled
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.rules import RuleContext, make_rule
from fmsel.fixmatch.step import Learner
from fmsel.training.augment.strong import Probe
from fmsel.training.engine.device import Precision

B, U, C = 4, 12, 3
# Every number differs from its default, so that each one must be read.
CONFIG = FixMatchConfig(
    steps=8,
    batch=B,
    mu=U // B,
    lr=0.1,
    momentum=0.8,
    weight_decay=0.05,
    threshold=0.7,
    lambda_u=2.0,
    ema_decay=0.9,
    ema_ramp=True,
)
KERNELS = ("0.weight", "5.weight")

Weights = dict[str, Tensor]
Batch = tuple[Labelled, Unlabelled]


def network() -> nn.Sequential:
    """Convolution, batch norm, mean over positions, linear layer; sure of some images already."""
    torch.manual_seed(0)
    head = nn.Linear(5, C)
    head.weight.data.mul_(4)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        head,
    ).double()


def batches(count: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)

    def images(n: int) -> Tensor:
        return torch.randn(n, 3, 6, 6, generator=generator, dtype=torch.float64)

    return [
        (
            Labelled(images=images(B), labels=torch.randint(0, C, (B,), generator=generator)),
            Unlabelled(weak=images(U), strong=images(U), index=torch.arange(U)),
        )
        for _ in range(count)
    ]


def forward(w: Weights, images: Tensor) -> Tensor:
    x = F.conv2d(images, w["0.weight"], w["0.bias"])
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
    x = (x - mean) / (variance + 1e-5) ** 0.5
    x = x * w["1.weight"].view(1, -1, 1, 1) + w["1.bias"].view(1, -1, 1, 1)
    return x.clamp(min=0).mean(dim=(2, 3)) @ w["5.weight"].T + w["5.bias"]


def gradients(w: Weights, labelled: Labelled, unlabelled: Unlabelled) -> tuple[Weights, Tensor]:
    """Of equations 3 and 4, and which unlabelled images passed the threshold."""
    leaves = {name: value.clone().requires_grad_() for name, value in w.items()}
    both = torch.cat([labelled.images, unlabelled.weak, unlabelled.strong])
    logits = forward(leaves, both)  # (B + 2 U, C), one batch for batch norm
    log_p = logits - logits.exp().sum(dim=1, keepdim=True).log()
    confidence, guess = log_p[B : B + U].detach().exp().max(dim=1)
    mask = confidence >= CONFIG.threshold
    first = -log_p[torch.arange(B), labelled.labels].sum() / B
    second = -log_p[B + U + torch.arange(U), guess][mask].sum() / U
    (first + 2.0 * second).backward()  # type: ignore[no-untyped-call]
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}, mask


def reference(start: Weights, given: list[Batch]) -> tuple[Weights, Weights, list[Tensor]]:
    """(weights, their average, masks) after a step on each of the batches."""
    w, average = dict(start), dict(start)
    velocity = {name: torch.zeros_like(value) for name, value in start.items()}
    masks = []
    for step, batch in enumerate(given):
        gradient, mask = gradients(w, *batch)
        lr = 0.1 * math.cos(7 * math.pi * step / (16 * 8))
        kept = (1 + step) / (10 + step)
        for name in w:
            g = gradient[name] + (0.05 * w[name] if name in KERNELS else 0)
            velocity[name] = 0.8 * velocity[name] + g
            w[name] = w[name] - lr * (g + 0.8 * velocity[name])
            average[name] = kept * average[name] + (1 - kept) * w[name]
        masks.append(mask)
    return w, average, masks


@pytest.mark.parametrize("count", [1, 2])
def test_steps_equal_the_plain_reference(count: int) -> None:
    model, given = network(), batches(count)
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    weights, average, masks = reference(start, given)
    assert all(0 < mask.sum() < U for mask in masks)  # both cases occur

    context = RuleContext(
        threshold=CONFIG.threshold, n_classes=C, n_unlabelled=U, device=torch.device("cpu")
    )
    learner = Learner(model.eval(), make_rule("fixed", context), CONFIG, "fp32")
    for step, (batch, mask) in enumerate(zip(given, masks, strict=True)):
        _, pseudo = learner.step(step, *batch)
        assert pseudo is not None
        assert torch.equal(pseudo.weights > 0, mask)
    for name, value in learner.model.named_parameters():
        torch.testing.assert_close(value.detach(), weights[name], rtol=0, atol=1e-6)
        torch.testing.assert_close(learner.ema.average[name], average[name], rtol=0, atol=1e-6)


class Noting:
    """Stands for an augmentation that learns: notes what its probes are judged by, and when."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.probabilities: list[Tensor] = []
        self.buffers: list[Tensor] = []

    def learn(self, probe: Probe, probabilities: Tensor, labels: Tensor) -> None:
        self.probabilities.append(probabilities.clone())
        self.buffers = [each.clone() for each in self.model.buffers()]

    def state_dict(self) -> dict[str, Tensor]:
        return {}


def test_probes_are_judged_by_the_averaged_network() -> None:
    """In evaluation mode, with the live statistics, which the probes leave alone."""
    [first, (labelled, unlabelled)] = batches(2)
    model = network()
    noting: Any = Noting(model)
    context = RuleContext(
        threshold=CONFIG.threshold, n_classes=C, n_unlabelled=U, device=torch.device("cpu")
    )
    learner = Learner(model, make_rule("fixed", context), CONFIG, "fp32", noting)
    learner.step(0, *first)
    generator = torch.Generator().manual_seed(2)
    for average in learner.ema.average.values():
        average += torch.randn(average.shape, generator=generator, dtype=torch.float64)
    images = torch.randn(B, 3, 6, 6, generator=generator, dtype=torch.float64)
    averaged, live = (copy.deepcopy(model).eval() for _ in range(2))
    for name, parameter in averaged.named_parameters():
        parameter.data.copy_(learner.ema.average[name])
    with torch.no_grad():
        expected, other = (each(images).softmax(dim=1) for each in (averaged, live))
    before = [each.clone() for each in model.buffers()]

    probe = Probe(images=images, record=torch.arange(B))
    probed = Labelled(images=labelled.images, labels=labelled.labels, probe=probe)
    learner.step(1, probed, unlabelled)
    [found] = noting.probabilities
    torch.testing.assert_close(found, expected)
    assert (expected - other).abs().max() > 0.1
    for was, then in zip(before, noting.buffers, strict=True):
        assert torch.equal(was, then)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_variance_that_overflows_freezes_although_the_loss_is_finite(
    precision: Precision,
) -> None:
    """Batch norm divides by it, so the loss shows nothing; evaluation would use it for ever."""
    [first, second] = [
        (
            dataclasses.replace(labelled, images=labelled.images.float()),
            dataclasses.replace(
                unlabelled, weak=unlabelled.weak.float(), strong=unlabelled.strong.float()
            ),
        )
        for labelled, unlabelled in batches(2)
    ]
    context = RuleContext(
        threshold=CONFIG.threshold, n_classes=C, n_unlabelled=U, device=torch.device("cpu")
    )
    learner = Learner(network().float(), make_rule("fixed", context), CONFIG, precision)
    learner.step(0, *first)
    with torch.no_grad():
        learner.model.get_parameter("0.weight").mul_(1e25)
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    losses, _ = learner.step(1, *second)
    assert losses.total.isfinite() and learner.guard.first_bad == 2
    for name, value in learner.model.state_dict().items():
        assert torch.equal(value, before[name])
