"""Recorded and compiled steps do what eager ones do; the CUDA part needs a GPU."""

import dataclasses
import gc
import sys
import weakref
from types import ModuleType

import pytest
import torch
from made_session import made_session

from fmsel.errors import OptionError
from fmsel.fixmatch.batches import packed, unpacked
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run.ahead import Ahead
from fmsel.fixmatch.run.session import Session
from fmsel.training.augment.strong import ctaugment, make_strong, strong_names
from fmsel.training.engine import device as device_module
from fmsel.training.engine.device import (
    Execution,
    configure_backends,
    resolve_device,
    resolve_execution,
)

CPU = torch.device("cpu")
TINY = FixMatchConfig(
    arch="small-conv-4", steps=12, batch=4, mu=2, threshold=0.3, ema_ramp=True, bn_momentum=0.1
)


def session(
    device: str,
    execution: Execution,
    config: FixMatchConfig = TINY,
    supervised_only: bool = False,
) -> Session:
    return made_session(device, execution, config, supervised_only=supervised_only)


@pytest.mark.parametrize("name", strong_names())
def test_draws_travel_in_one_piece(name: str) -> None:
    """Shapes are the same at every step; packing keeps every bit, also of float64."""
    made = session("cpu", "eager", dataclasses.replace(TINY, augment=name))
    like = made.draws(0)
    for step in (0, 1, 57):
        draws = made.draws(step)
        again = unpacked(packed(draws), [torch.empty_like(each, device="meta") for each in like])
        assert len(again) == len(draws)
        for first, second in zip(draws, again, strict=True):
            assert torch.equal(first, second) and first.dtype == second.dtype


def test_a_session_that_is_dropped_gives_its_memory_back_at_once() -> None:
    """Not when Python next looks for cycles: the next run needs it."""
    session("cpu", "eager")  # what a process makes once
    gc.disable()
    try:
        made = session("cpu", "eager")
        made.ahead = Ahead(CPU)
        made.captured = lambda function, *inputs: function(*inputs)  # type: ignore[assignment]
        made.advance()
        gone = weakref.ref(made)
        del made
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("supervised_only", [False, True])
@pytest.mark.parametrize("augment", ["google-code", "ctaugment"])
def test_batches_made_ahead_change_no_bit(
    augment: str, supervised_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the steps do not begin at 0, where one is left out, and of what is learned."""
    monkeypatch.setattr(ctaugment, "DECAY", 0.5)  # so quick that it decides about the next batch
    config = dataclasses.replace(TINY, augment=augment)
    plain, ahead = (session("cpu", "eager", config, supervised_only) for _ in range(2))
    ahead.ahead = Ahead(CPU)
    ahead.captured = lambda function, *inputs: function(*inputs)  # type: ignore[assignment]
    for made in (plain, ahead):
        made.step = 5
        for _ in range(3):
            made.advance()
        made.step += 1
        made.advance()
    first, second = plain.learner.state_dict(), ahead.learner.state_dict()
    for part in ("model", "ema"):
        assert all(torch.equal(value, second[part][name]) for name, value in first[part].items())
    for name, tensor in plain.strong.state_dict().items():
        assert torch.equal(tensor, ahead.strong.state_dict()[name])
        assert supervised_only or not (tensor == 1).all()  # rates have moved
    assert torch.equal(plain.meters.sums, ahead.meters.sums)


def test_execution_names() -> None:
    assert resolve_execution("auto", CPU) == "eager"
    assert resolve_execution("compile", CPU) == "compile"
    with pytest.raises(OptionError, match="'graph' needs a CUDA device"):
        resolve_execution("graph", CPU)
    with pytest.raises(OptionError, match="must be one of auto, eager, graph, compile, fused"):
        resolve_execution("fast", CPU)


def test_without_working_kernels_steps_are_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with no C compiler, an old GPU or no triton; found out once a process."""

    def fails(device: torch.device) -> None:
        raise RuntimeError("Failed to find C compiler.\nPlease specify it")

    gpu, fused = torch.device("cuda"), ModuleType("fused")  # the true one needs triton
    monkeypatch.setitem(sys.modules, "fmsel.training.networks.fused", fused)
    for check, auto in ((lambda device: None, "fused"), (fails, "graph")):
        device_module._no_kernels.cache_clear()
        monkeypatch.setattr(fused, "check", check, raising=False)
        assert resolve_execution("auto", gpu) == auto
    with pytest.raises(
        OptionError, match=r"does not work here \(Failed to find C compiler\.\); use"
    ):
        resolve_execution("fused", gpu)
    device_module._no_kernels.cache_clear()


def assert_same_course(first: Session, second: Session, steps: int, tolerance: float) -> None:
    for _ in range(steps):
        first.advance()
        second.advance()
    states = (first.learner.state_dict(), second.learner.state_dict())
    for part in ("model", "ema"):
        for name, value in states[0][part].items():
            torch.testing.assert_close(
                value, states[1][part][name], rtol=tolerance, atol=tolerance, msg=f"{part} {name}"
            )
    torch.testing.assert_close(first.meters.sums, second.meters.sums, rtol=1e-3, atol=1e-3)


ADAM = {"optimizer": "adam", "lr": 0.001}
RULES = [{"rule": name} for name in ("freematch", "flexmatch")]
VIEWS = [{"augment": name} for name in strong_names()]


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("execution", "changes", "deterministic", "supervised_only"),
    [
        *(("graph", each, False, False) for each in ({}, ADAM, *RULES, *VIEWS)),
        *(("graph", each, True, False) for each in ({}, *RULES, *VIEWS)),
        *(("graph", each, False, True) for each in ({}, {"augment": "ctaugment"})),
        *(("compile", each, False, False) for each in ({}, *RULES)),
    ],
)
def test_replayed_steps_are_the_eager_ones(
    execution: Execution, changes: dict[str, object], deterministic: bool, supervised_only: bool
) -> None:
    config = dataclasses.replace(TINY, **changes)  # type: ignore[arg-type]
    configure_backends(resolve_device("cuda"), deterministic)
    try:
        eager, other = (
            session("cuda", way, config, supervised_only) for way in ("eager", execution)
        )
        assert_same_course(eager, other, steps=12, tolerance=2e-3)
    finally:
        configure_backends(torch.device("cuda"), deterministic=False)
    assert other.captured is not None and other.captured.graph is not None


@pytest.mark.gpu
@pytest.mark.parametrize("name", strong_names())
@pytest.mark.parametrize("side", [8, 32])
def test_strong_views_have_the_cpus_bits(name: str, side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (64, 3, side, side), generator=generator, dtype=torch.uint8)
    cpu, gpu = (make_strong(name, side, torch.device(kind)) for kind in ("cpu", "cuda"))
    for seed in range(5):
        draws = cpu.draw(len(images), torch.Generator().manual_seed(seed))
        first = cpu.distort(images, draws)
        second = gpu.distort(images.cuda(), [each.cuda() for each in draws])
        assert torch.equal(first, second.cpu())


@pytest.mark.gpu
@pytest.mark.parametrize("name", strong_names())
def test_a_step_never_waits_for_the_device(name: str) -> None:
    """torch warns, here raises, where a call waits for the device."""
    made = session("cuda", "eager", dataclasses.replace(TINY, augment=name))
    made.advance()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            made.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")
