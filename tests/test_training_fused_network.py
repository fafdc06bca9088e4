"""The fused wide residual network computes what its modules do: gradients against float64.

Without a GPU its kernels run in Triton's interpreter, in a process of its own.
"""

import copy
import json
from importlib.util import find_spec

import pytest
import torch
from interpreted import interpreted
from torch import Tensor, nn
from torch.nn import functional as F

from fmsel.training.engine.device import resolve_device
from fmsel.training.networks.build import build_network

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="no triton")
LABELS = torch.tensor([0, 1, 4, 2])


def made(arch: str, side: int) -> nn.Module:
    """With biases and batch norms that are not what they begin with."""
    network: nn.Module = build_network(arch, n_classes=5, image_side=side, bn_momentum=0.1, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each in network.parameters():
            if each.ndim == 1:
                each.add_(0.1 * torch.randn(each.shape, generator=generator))
    return network.to(memory_format=torch.channels_last).train()


def relative(value: Tensor, truth: Tensor) -> float:
    value, truth = value.detach().cpu().double(), truth.detach().cpu().double()
    return float((value - truth).norm() / truth.norm().clamp_min(1e-30))


def learn(call: object, images: Tensor) -> Tensor:
    logits: Tensor = call(images.contiguous(memory_format=torch.channels_last))  # type: ignore[operator]
    F.cross_entropy(logits, LABELS[: len(images)].to(images.device)).backward()  # type: ignore[no-untyped-call]
    return logits


def biases_of_convolutions(network: nn.Module) -> set[str]:
    """Those that batch norm takes away again: their gradient is 0 but for rounding."""
    names = (name for name, each in network.named_modules() if isinstance(each, nn.Conv2d))
    return {f"{name}.bias" for name in names}


def errors(first: nn.Module, truth: nn.Module) -> dict[str, float]:
    """Relative, of each gradient and of each running statistic; absolute of the biases' ones."""
    found = {}
    nought = biases_of_convolutions(first)
    for (name, mine), (_, true) in zip(
        first.named_parameters(), truth.named_parameters(), strict=True
    ):
        assert mine.grad is not None and true.grad is not None, name
        assert mine.grad.shape == mine.shape and mine.grad.dtype == mine.dtype
        if name in nought:
            assert float(true.grad.abs().max()) < 1e-9, name  # the claim itself, in float64
            found[name] = float(mine.grad.abs().max())
        else:
            found[name] = relative(mine.grad, true.grad)
    theirs = dict(truth.named_buffers())
    return found | {name: relative(each, theirs[name]) for name, each in first.named_buffers()}


def interpret() -> None:
    """Print the largest errors for both ways to convolve, with several programs and cut tiles."""
    from fmsel.training.networks import fused

    torch.set_num_threads(1)
    fused.NARROW_TYPES = (torch.float32,)
    fused.ELEMENTS, fused.PROGRAMS, fused.CONVOLUTIONS = 2048, 2, 2
    fused.CHUNK, fused.PART, fused.WEIGHT_PART = 2, 16, 256
    fused.PAIRS, fused.WEIGHT_PAIRS, fused.WEIGHT_PROGRAMS = 32, 32, 1
    found = {}
    for arch, narrow in (("wrn-28-2", 32), ("wrn-28-1", 0)):
        mine = made(arch, 8)
        plain, truth = copy.deepcopy(mine), copy.deepcopy(mine).double()
        images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        call = fused.fused(mine, narrow)
        assert isinstance(call, fused.Fused)
        logits = [learn(call, images), learn(plain, images), learn(truth, images.double())]
        found[f"{arch} {narrow}"] = [
            relative(logits[0], logits[2]),
            max(errors(mine, truth).values()),
            max(errors(plain, truth).values()),
        ]
    print(json.dumps(found))


def test_interpreted_its_gradients_are_those_of_the_modules() -> None:
    found = interpreted(__file__)
    assert len(found) == 2
    for logits, mine, plain in found.values():
        assert logits < 1e-5
        assert mine < max(3 * plain, 1e-4)


def test_other_networks_are_called_as_they_are() -> None:
    from fmsel.training.networks.fused import fused

    for arch in ("small-conv-8", "resnet9-8", "wrn-28-3"):
        network = build_network(arch, n_classes=2, image_side=8, bn_momentum=0.1, seed=0)
        assert fused(network) is network


@pytest.mark.parametrize("side", [9, 10])
def test_sides_that_are_padded_otherwise_go_the_modules_way(side: int) -> None:
    """A stride of 2 on an odd side: 9, and the half of 10."""
    from fmsel.training.networks.fused import Fused, fused

    mine = made("wrn-28-1", side)
    plain = copy.deepcopy(mine)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    call = fused(mine)
    assert isinstance(call, Fused)
    assert torch.equal(call(images), plain(images))  # without an interpreter, so no kernel ran


@pytest.mark.gpu
@pytest.mark.parametrize("narrow", [0, 32])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("arch", ["wrn-28-1", "wrn-28-2"])
def test_on_a_gpu_it_is_as_near_the_truth_as_the_modules(
    arch: str, bf16: bool, narrow: int
) -> None:
    from fmsel.training.networks.fused import fused

    device = resolve_device("cuda")  # fp32 is fp32
    mine = made(arch, 32).to(device)
    plain, truth = copy.deepcopy(mine), copy.deepcopy(mine).double()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=bf16):
        call = fused(mine, narrow)
        logits = [learn(call, images), learn(plain, images)]
    true = learn(truth, images.double())
    assert relative(logits[0], true) < 1.5 * relative(logits[1], true) + 1e-6
    first, second = errors(mine, truth), errors(plain, truth)
    nought = biases_of_convolutions(mine)
    assert all(first[name] == 0 for name in nought)
    largest = max(first[name] for name in first if name not in nought)
    assert largest < 2 * max(second[name] for name in second if name not in nought) + 1e-5


if __name__ == "__main__":
    interpret()
