"""The guard freezes at the first bad step, and changes nothing before it."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fmsel.training.engine.ema import Ema
from fmsel.training.engine.guard import Guard
from fmsel.training.engine.optim import adam, sgd

OPTIMIZERS = ["sgd", "adam"]


def optimizer_of(name: str, model: nn.Module) -> torch.optim.Optimizer:
    if name == "adam":
        return adam(model, lr=0.01, weight_decay=0.1, fused=True)
    return sgd(model, lr=0.01, momentum=0.9, weight_decay=0.1, fused=True)


class Toy:
    """A network with batch norm, momentum, an average and a counter, with or without a guard."""

    def __init__(self, name: str, guarded: bool) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
        )
        self.model = network.to(memory_format=torch.channels_last)
        self.optimizer = optimizer_of(name, self.model)
        self.ema = Ema(self.model, 0.9)
        self.decay = torch.tensor(0.9)
        self.seen = torch.zeros(3, dtype=torch.int64)  # as a pseudo-label rule's state
        self.guard = Guard(torch.device("cpu")) if guarded else None
        if self.guard is not None:
            self.optimizer.found_inf = self.guard.frozen  # type: ignore[attr-defined]

    def changed(self) -> list[Tensor]:
        return [*self.model.buffers(), self.seen]

    def step(self, step: int, bad: str = "") -> None:
        images = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(step))
        if bad == "batch":
            images[3, 1, 2, 2] = float("inf")
        if self.guard is not None:
            self.guard.begin(step)
            self.guard.keep(self.changed())
        loss = self.model(images).square().mean()
        if bad == "gradient":  # the root of 0 has a finite value and an infinite slope
            weight = next(self.model.parameters())
            loss = loss + ((weight - weight.detach()) ** 2).sum().sqrt()
        self.seen += 1
        self.optimizer.zero_grad()
        loss.backward()
        decay = self.decay
        if self.guard is not None:
            self.guard.judge(loss.detach(), [p.grad for p in self.model.parameters()])  # type: ignore[misc]
            decay = self.guard.held(decay, 1.0)
        self.optimizer.step()
        self.ema.update(self.model, decay)
        if self.guard is not None:
            self.guard.put_back(self.changed())

    def tensors(self) -> list[Tensor]:
        states = self.optimizer.state_dict()["state"].values()
        return [
            *(p.detach() for p in self.model.parameters()),
            *self.changed(),
            *self.ema.average.values(),
            *(tensor for state in states for tensor in state.values()),
        ]


def bits(tensors: Sequence[Tensor]) -> list[bytes]:
    return [each.contiguous().flatten().view(torch.uint8).numpy().tobytes() for each in tensors]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_a_bad_step_nothing_changes(name: str) -> None:
    plain, guarded = Toy(name, False), Toy(name, True)
    for step in range(4):
        plain.step(step)
        guarded.step(step)
    assert bits(guarded.tensors()) == bits(plain.tensors())
    assert guarded.guard is not None and guarded.guard.first_bad == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("bad", ["batch", "gradient"])
def test_from_the_first_bad_step_on_all_is_as_before_it(name: str, bad: str) -> None:
    """Good batches that follow, and a second bad one, do not change it either."""
    plain, guarded = Toy(name, False), Toy(name, True)
    for step in range(3):
        plain.step(step)
        guarded.step(step)
    expected = bits(plain.tensors())
    for step in range(3, 8):
        guarded.step(step, bad if step in (3, 6) else "")
    assert guarded.guard is not None
    assert int(guarded.guard.first_bad) == 4  # counted from 1
    assert bits(guarded.tensors()) == expected
    plain.step(3, bad)
    assert any(not each.isfinite().all() for each in plain.tensors())  # the guard was needed


def test_the_very_first_step_may_be_bad() -> None:
    guarded = Toy("sgd", True)
    before = bits([*guarded.model.parameters(), *guarded.changed(), *guarded.ema.average.values()])
    guarded.step(0, "batch")
    after = bits([*guarded.model.parameters(), *guarded.changed(), *guarded.ema.average.values()])
    assert guarded.guard is not None and guarded.guard.first_bad == 1
    assert after == before


@given(
    frozen=st.booleans(),
    sizes=st.lists(
        st.tuples(
            st.sampled_from([torch.float32, torch.int64, torch.bool]),
            st.lists(st.integers(0, 3), max_size=3),
        ),
        max_size=6,
    ),
)
def test_what_is_kept_comes_back_only_when_frozen(
    frozen: bool, sizes: list[tuple[torch.dtype, list[int]]]
) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn() -> list[Tensor]:
        return [torch.randint(0, 9, size, generator=generator).to(d) for d, size in sizes]

    tensors, changed = drawn(), drawn()
    before = [each.clone() for each in tensors]
    guard = Guard(torch.device("cpu"))
    guard.begin(0)
    guard.keep(tensors)
    guard.judge(torch.tensor(float("nan") if frozen else 1.0), [torch.ones(2)])
    for target, source in zip(tensors, changed, strict=True):
        target.copy_(source)
    guard.put_back(tensors)
    for target, expected in zip(tensors, before if frozen else changed, strict=True):
        assert torch.equal(target, expected)


def test_nothing_depends_on_values_the_host_would_wait_for() -> None:
    """Tensors without values raise as soon as anything reads one."""
    device = torch.device("meta")
    guard = Guard(device)
    tensors = [torch.zeros(3, device=device), torch.zeros((), dtype=torch.int64, device=device)]
    guard.begin(0)
    guard.keep(tensors)
    guard.judge(torch.zeros((), device=device), tensors[:1])
    guard.put_back(tensors)
    assert guard.held(tensors[0], 1.0).is_meta
    with pytest.raises(RuntimeError):
        bool(guard.frozen)
