"""What a CUDA graph records of a step is work for the device alone; shown without a GPU.

On the meta device tensors have no values, so reading one on the host fails, as does a shape that
depends on one. Beside that, every tensor that an operation is given or gives must lie on the
device, and none may be made of numbers on the host: a recording cannot copy them. Not shown here:
the fused optimisers and autocast, which the meta device does not have.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fmsel.datasets import WeakAugment
from fmsel.fixmatch import step as step_module
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.rules import rule_names
from fmsel.fixmatch.run.inputs import Inputs
from fmsel.fixmatch.run.session import Session
from fmsel.training.augment.strong import strong_names
from fmsel.training.engine.optim import parameter_groups

DEVICE = torch.device("meta")
TINY = FixMatchConfig(arch="small-conv-4", steps=12, batch=4, mu=2)


class DeviceAlone(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails where an operation works on another device too, waits for this one, or draws."""

    INDEXING = (
        "aten::index.Tensor",
        "aten::index_put",
        "aten::index_put_",
        "aten::_index_put_impl_",
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        assert torch.Tag.nondeterministic_seeded not in func.tags, f"{func} draws"
        if func.name() in self.INDEXING:
            dtypes = {each.dtype for each in args[1] if each is not None}
            assert not dtypes & {torch.bool, torch.uint8}, f"{func} waits for a mask"
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves((args, kwargs, result)):
            if isinstance(each, Tensor):
                assert each.device == DEVICE, f"{func} with a tensor on {each.device}"
        self.operations += 1
        return result


class NoHostData(TorchFunctionMode):
    """Fails where numbers of the host become a tensor, which no dispatch mode sees."""

    MAKERS = (torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy, Tensor.new_tensor)
    INDEXING = (Tensor.__getitem__, Tensor.__setitem__)

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        assert func not in self.MAKERS, f"{func} copies from the host"
        if func in self.INDEXING:
            places = args[1] if isinstance(args[1], tuple) else (args[1],)
            lists = [each for each in places if isinstance(each, list)]
            assert not lists, f"{func} copies the list {lists} from the host"
        return func(*args, **(kwargs or {}))


class PlainSGD(torch.optim.SGD):
    """Not fused, so blind to the guard's `found_inf`."""

    found_inf = property(lambda self: None, lambda self, value: None)


def plain_sgd(model: nn.Module, config: FixMatchConfig) -> torch.optim.Optimizer:
    groups = parameter_groups(model, config.weight_decay, config.decay_all)
    return PlainSGD(groups, lr=config.lr, momentum=config.momentum, nesterov=True)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    monkeypatch.setattr(step_module, "make_optimizer", plain_sgd)

    def made(config: FixMatchConfig, supervised_only: bool = False) -> Session:
        images = torch.empty(40, 3, 8, 8, dtype=torch.uint8, device=DEVICE)
        labels = torch.empty(40, dtype=torch.int64, device=DEVICE)
        inputs = Inputs(
            images=images,
            truth=labels,
            chosen=labels[:9],
            labels=labels[:9],
            test_images=images,
            test_labels=labels,
            n_classes=3,
        )
        weak = WeakAugment(flip=True, shift=1)
        return Session(
            inputs, weak, config, seed=0, supervised_only=supervised_only, precision="fp32"
        )

    return made


CHANGES: list[dict[str, Any]] = [
    *({"augment": name} for name in strong_names()),
    *({"rule": name} for name in rule_names()),
    *({"rule": name, "prior": "uniform"} for name in ("adamatch", "softmatch")),
    {"hard": False, "temperature": 0.5},
    {"weak_gradient": False},
    {"interleave": True},
    {"arch": "wrn-28-1"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_step_is_work_for_the_device_alone(session: Any, changes: dict[str, Any]) -> None:
    made = session(dataclasses.replace(TINY, **changes))
    assert_alone(made)


@pytest.mark.parametrize("augment", ["google-code", "ctaugment"])
def test_a_supervised_step_is_too(session: Any, augment: str) -> None:
    assert_alone(session(dataclasses.replace(TINY, augment=augment), supervised_only=True))


def assert_alone(made: Session) -> None:
    for step in range(2):  # the first also makes what lasts
        flat = made.draws_on_device(step)
        made.learner.prepare(step)
        with NoHostData(), DeviceAlone() as watched:
            made.learn(flat)
        assert watched.operations > 100


@pytest.mark.parametrize(
    "mistake",
    [
        lambda images: images[images > 0],
        lambda images: images.sum().item(),
        lambda images: images + torch.ones(3, device=DEVICE).cpu(),
        lambda images: images * torch.tensor(2.0),
        lambda images: torch.tensor([1.0, 2.0, 3.0]).to(DEVICE),
        lambda images: torch.tensor([1.0, 2.0, 3.0], device=DEVICE),
        lambda images: images.new_tensor([1.0, 2.0, 3.0]),
        lambda images: images.to("cpu"),
        lambda images: torch.unique(images),
        lambda images: images[[0, 1]],
        lambda images: images.__setitem__([0, 1], 2.0),
        lambda images: images.__setitem__(images > 0, images),
        lambda images: torch.rand(3, device=DEVICE),
        lambda images: F.dropout(images),
        lambda images: images.multinomial(2),
    ],
)
def test_mistakes_are_seen(mistake: Any) -> None:
    images = torch.empty(3, device=DEVICE)
    with (
        NoHostData(),
        DeviceAlone(),
        pytest.raises((AssertionError, RuntimeError, NotImplementedError)),
    ):
        mistake(images)
