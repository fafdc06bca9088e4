"""Schedules and optimisers of the ablations, against torch's own."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, ReduceLROnPlateau

from fmsel.training.engine.optim import adam, sgd
from fmsel.training.engine.schedule import SCHEDULES, Schedule, plateau_scale, sgdr


def dummy(lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)


@given(cycle=st.integers(1, 12), growth=st.integers(1, 3), lr_min=st.floats(0, 0.01))
def test_sgdr_is_torchs(cycle: int, growth: int, lr_min: float) -> None:
    optimizer = dummy(0.1)
    torchs = CosineAnnealingWarmRestarts(optimizer, cycle, growth, eta_min=lr_min)
    for step in range(60):
        assert sgdr(step, cycle, growth, 0.1, lr_min) == pytest.approx(
            optimizer.param_groups[0]["lr"], abs=1e-12
        )
        optimizer.step()
        torchs.step()


@given(
    losses=st.lists(st.integers(1, 9), max_size=40),
    factor=st.sampled_from([0.1, 0.5]),
    patience=st.integers(0, 4),
)
def test_plateau_is_torchs(losses: list[int], factor: float, patience: int) -> None:
    optimizer = dummy(1.0)
    torchs = ReduceLROnPlateau(optimizer, factor=factor, patience=patience, eps=0)
    for loss in losses:
        torchs.step(float(loss))
    assert plateau_scale(losses, factor, patience) == pytest.approx(
        optimizer.param_groups[0]["lr"], rel=1e-9
    )


def test_every_schedule_is_warmed_up_to_its_rate() -> None:
    for name in SCHEDULES:
        schedule = Schedule(name=name, lr=0.3, steps=100, warmup=10)
        rise = [schedule(step) for step in range(11)]
        assert rise == pytest.approx([0.03 * step for step in range(11)])


@given(step=st.integers(0, 2**20))
def test_fixmatch_schedule_by_its_formula(step: int) -> None:
    rate = Schedule(name="fixmatch", lr=0.03, steps=2**20)(step)
    assert rate == pytest.approx(0.03 * math.cos(7 * math.pi * step / (16 * 2**20)))


def test_plateau_keeps_its_least_rate_and_constant_stays() -> None:
    plateau = Schedule(name="plateau", lr=0.1, steps=9, factor=0.1, patience=0, lr_min=0.02)
    assert [plateau(3, [1.0] * n) for n in (0, 1, 2, 3)] == pytest.approx([0.1, 0.1, 0.02, 0.02])
    assert {Schedule(name="constant", lr=0.1, steps=9)(step) for step in range(9)} == {0.1}


def model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))


@pytest.mark.parametrize("make", [adam, lambda m, **k: sgd(m, momentum=0.9, **k)])
def test_decay_all_decays_every_parameter(make: object) -> None:
    net = model()
    optimizer = make(net, lr=0.1, weight_decay=0.5, decay_all=True)  # type: ignore[operator]
    decayed, others = optimizer.param_groups
    assert len(decayed["params"]) == 6 and others["params"] == []
    decayed, others = make(net, lr=0.1, weight_decay=0.5).param_groups  # type: ignore[operator]
    assert [len(decayed["params"]), len(others["params"])] == [2, 4]


def test_adam_decays_through_the_gradient() -> None:
    """Kingma and Ba's algorithm 1 by hand, on f(w) = 3 w with g = 3 + wd w: L2, not AdamW."""
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(layer.weight, 2.0)
    optimizer = adam(layer, lr=0.1, weight_decay=0.5)
    w, m, v = 2.0, 0.0, 0.0
    for t in range(1, 4):
        optimizer.zero_grad()
        (layer.weight * 3).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        g = 3 + 0.5 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        assert layer.weight.item() == pytest.approx(w, rel=1e-9)
