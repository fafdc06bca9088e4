"""Optimiser, schedule, average and signals, against closed forms."""

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fmsel.errors import DeviceError, OptionError
from fmsel.training.engine.device import resolve_device, resolve_precision
from fmsel.training.engine.ema import Ema
from fmsel.training.engine.optim import set_lr, sgd
from fmsel.training.engine.schedule import cosine_7_16
from fmsel.training.engine.signals import stop_flag


def small_model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))


def test_weight_decay_acts_on_kernels_only() -> None:
    model = small_model()
    decayed, others = sgd(model, lr=0.1, momentum=0.9, weight_decay=5e-4).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert [names[id(p)] for p in decayed["params"]] == ["0.weight", "3.weight"]
    assert [names[id(p)] for p in others["params"]] == ["0.bias", "1.weight", "1.bias", "3.bias"]
    assert (decayed["weight_decay"], others["weight_decay"]) == (5e-4, 0.0)


def test_sgd_is_nesterov_with_coupled_decay() -> None:
    """Sutskever's form by hand, on f(w) = w * 3: g = 3 + wd w, v = m v + g, w -= lr (g + m v)."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    optimizer = sgd(layer, lr=1.0, momentum=0.9, weight_decay=0.01)
    w, v = 2.0, 0.0
    for lr in (0.1, 0.05, 0.02):
        set_lr(optimizer, lr)
        optimizer.zero_grad()
        (layer.weight * 3).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        g = 3 + 0.01 * w
        v = 0.9 * v + g
        w -= lr * (g + 0.9 * v)
        assert layer.weight.item() == pytest.approx(w, rel=1e-6)


@given(steps=st.integers(1, 2**20), lr=st.floats(1e-4, 1.0))
def test_schedule_starts_at_lr_falls_and_ends_at_a_fifth(steps: int, lr: float) -> None:
    assert cosine_7_16(0, steps, lr) == lr
    # sin(pi / 16) = cos(7 pi / 16), by radicals
    end = (2 - (2 + 2**0.5) ** 0.5) ** 0.5 / 2
    assert cosine_7_16(steps, steps, lr) == pytest.approx(lr * end)
    assert cosine_7_16(steps, steps, lr) < cosine_7_16(steps - 1, steps, lr) <= lr


@pytest.mark.parametrize("ramp", [False, True])
def test_average_equals_its_closed_form(ramp: bool) -> None:
    """Weights 1, 2, …, 30 after a start of 0: the sum of each times the decays that follow."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = Ema(model, 0.7, ramp)
    decays = [min(0.7, (1 + t) / (10 + t)) if ramp else 0.7 for t in range(30)]
    for t in range(30):
        nn.init.constant_(model.weight, t + 1.0)
        ema.update(model, ema.decay_at(t))
    expected = sum(
        (t + 1) * (1 - decays[t]) * torch.tensor(decays[t + 1 :]).prod().item() for t in range(30)
    )
    assert ema.average["weight"].item() == pytest.approx(expected, rel=1e-5)
    assert ema.forward(model, torch.ones(1, 1)).item() == pytest.approx(expected, rel=1e-5)


def test_averaged_network_uses_the_live_running_statistics() -> None:
    model = nn.BatchNorm2d(1)
    ema = Ema(model, 0.9)
    model(torch.full((4, 1, 2, 2), 5.0))
    model.eval()
    assert model.running_mean is not None and model.running_mean.item() != 0
    image = torch.ones(1, 1, 2, 2)
    assert torch.equal(ema.forward(model, image), model(image))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_first_signal_sets_the_flag_and_second_acts_as_before(number: signal.Signals) -> None:
    received: list[int] = []
    before = signal.signal(number, lambda which, frame: received.append(which))
    try:
        ours = signal.getsignal(number)
        with stop_flag() as flag:
            assert not flag
            os.kill(os.getpid(), number)
            assert flag and not received
            os.kill(os.getpid(), number)
            assert received == [number]
        assert signal.getsignal(number) is ours
    finally:
        signal.signal(number, before)


def test_nohup_is_heeded() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_flag() as flag:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not flag and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_unusable_device_and_precision_are_refused() -> None:
    for name in ("nonsense", "meta"):
        with pytest.raises(DeviceError, match=f"'{name}' is not usable here; try --device cpu"):
            resolve_device(name)
    with pytest.raises(OptionError, match="precision 'fp16' must be one of auto, fp32, bf16"):
        resolve_precision("fp16", torch.device("cpu"))


def test_a_device_without_float64_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    place = SimpleNamespace(device=torch.device("mps"))
    monkeypatch.setattr(torch, "empty", lambda *size, device: place)
    with pytest.raises(DeviceError, match="'mps' is not usable here; try --device cpu"):
        resolve_device("mps")


def test_on_a_gpu_fp32_is_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch lets convolutions be TF32, 10 bits, unless told."""
    place = SimpleNamespace(device=torch.device("cuda:0"))
    switches: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = True
        with monkeypatch.context() as patched:
            patched.setattr(torch, "empty", lambda *size, device: place)
            assert resolve_device("cuda") == torch.device("cuda:0")
        assert not any(switch.allow_tf32 for switch in switches)
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value
