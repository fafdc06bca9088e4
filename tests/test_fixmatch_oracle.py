"""Ten whole steps of the real network against numpy, and what each of its parameters is for."""

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from oracle.fixmatch import Recipe, Trainer
from oracle.layers import Array
from oracle.wide_resnet import Arrays, WideResNet, parameter_shapes
from torch import Tensor, nn

from fmsel.fixmatch.batches import Labelled, Unlabelled
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.rules import RuleContext, make_rule
from fmsel.fixmatch.step import Learner
from fmsel.training.networks import wide_resnet

B, MU, C, STEPS = 4, 2, 3, 10
U = MU * B
TAU = 0.5  # low, so that masks are neither empty nor full
Batch = tuple[Array, NDArray[np.int64], Array, Array]  # images, labels, weak, strong

BATCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}
OTHERS = {"weight": "kernel", "bias": "bias"}


def batches(side: int) -> list[Batch]:
    rng = np.random.default_rng(0)

    def images(n: int) -> Array:
        return rng.uniform(-1, 1, (n, side, side, 3))

    return [(images(B), rng.integers(0, C, B), images(U), images(U)) for _ in range(STEPS)]


def oracle_name(name: str) -> str:
    """Of the torch network's parameter or buffer."""
    layer, _, kind = name.rpartition(".")
    head, _, rest = layer.partition(".")
    if head == "blocks":
        number, _, rest = rest.partition(".")
        layer = f"{int(number) // 4}.{int(number) % 4}.{rest}"
    known = BATCH_NORM if "norm" in layer else OTHERS
    return f"{'dense' if layer == 'head' else layer}.{known[kind]}"


def to_numpy(tensors: Mapping[str, Tensor]) -> Arrays:
    """Copies under the oracle's names: (k, k, in, out) kernels, (in, out) dense weights."""
    floats = {k: v for k, v in tensors.items() if v.is_floating_point()}
    arrays = {oracle_name(k): v.detach().numpy().copy() for k, v in floats.items()}
    return {k: np.moveaxis(v, (0, 1), (-1, -2)) if v.ndim > 1 else v for k, v in arrays.items()}


def to_torch(images: Array) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def network(width: int, side: int) -> wide_resnet.WideResNet:
    """Float64, with biases and batch norm moved off 0 and 1, where mistakes would not show."""
    torch.manual_seed(0)
    model = wide_resnet.WideResNet(C, side, width).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def oracle_of(model: nn.Module) -> Trainer:
    weights, moving = dict(model.named_parameters()), dict(model.named_buffers())
    network = WideResNet(to_numpy(weights), to_numpy(moving))
    return Trainer(network, Recipe(steps=STEPS, threshold=TAU))


def learner_of(model: nn.Module, interleave: bool) -> Learner:
    """With the defaults of the configuration, which must be the reference's numbers."""
    config = FixMatchConfig(steps=STEPS, batch=B, mu=MU, threshold=TAU, interleave=interleave)
    context = RuleContext(threshold=TAU, n_classes=C, n_unlabelled=U, device=torch.device("cpu"))
    return Learner(model, make_rule(config.rule, context), config, "fp32")


def assert_same_state(learner: Learner, oracle: Trainer) -> None:
    """All that a step changes, to a relative 1e-9.

    The gradients of convolutions' biases are 0 but for rounding: hence the absolute 1e-12.
    """
    parameters, state = dict(learner.model.named_parameters()), learner.optimizer.state
    velocity = {name: state[p]["momentum_buffer"] for name, p in parameters.items()}
    pairs: list[tuple[Mapping[str, Tensor], Arrays]] = [
        (parameters, oracle.network.weights),
        (dict(learner.model.named_buffers()), oracle.network.moving),
        (velocity, oracle.velocity),
        (learner.ema.average, oracle.average),
    ]
    for tensors, expected in pairs:
        got = to_numpy(tensors)
        assert got.keys() == expected.keys()
        wrong = [k for k, v in expected.items() if not np.allclose(got[k], v, 1e-9, 1e-12)]
        assert wrong == []


# Width 4: 1 x 1 shortcuts in all stages. Width 16 (WRN-28-1): the first shortcut is the activated
# input itself; an odd side is padded on both sides, also at stride 2.
@pytest.mark.parametrize(("width", "side", "interleave"), [(4, 8, False), (16, 9, True)])
def test_ten_steps_equal_the_numpy_oracle(width: int, side: int, interleave: bool) -> None:
    model = network(width, side)
    oracle, learner = oracle_of(model), learner_of(model, interleave)
    kept = []
    for step, (images, labels, weak, strong) in enumerate(batches(side)):
        expected = oracle.step(step, images, labels, weak, strong)
        losses, pseudo = learner.step(
            step,
            Labelled(images=to_torch(images), labels=torch.from_numpy(labels)),
            Unlabelled(weak=to_torch(weak), strong=to_torch(strong), index=torch.arange(U)),
        )
        assert pseudo is not None
        np.testing.assert_array_equal(pseudo.weights.numpy() > 0, expected.mask)
        assert losses.labelled.item() == pytest.approx(expected.labelled, rel=1e-9)
        assert losses.unlabelled.item() == pytest.approx(expected.unlabelled, rel=1e-9)
        assert_same_state(learner, oracle)
        kept.append(int(expected.mask.sum()))
    assert sum(0 < n < U for n in kept) >= 8, kept

    # Evaluation: the averaged weights with the live statistics.
    learner.model.eval()
    got = learner.ema.forward(learner.model, to_torch(images)).detach().numpy()
    evaluated = WideResNet(oracle.average, oracle.network.moving).predict(images)
    np.testing.assert_allclose(got, evaluated, rtol=1e-9)


def test_the_oracles_gradients_equal_central_differences() -> None:
    """Along a random direction in all kernels of one kind, all offsets of one kind, …"""
    oracle, batch = oracle_of(network(4, 8)), batches(8)[0]
    weights, mask = oracle.network.weights, oracle.gradients(*batch).mask
    assert 0 < mask.sum() < len(mask)
    gradients, rng = dict(oracle.network.gradients), np.random.default_rng(1)
    kinds = {".".join(name.split(".")[-2:]) for name in weights}  # such as conv1.kernel
    assert len(kinds) == 16
    for kind in sorted(kinds):
        old = {name: value for name, value in weights.items() if name.endswith(kind)}
        direction = {name: rng.normal(size=value.shape) for name, value in old.items()}
        losses = []
        for h in (1e-7, -1e-7):
            weights.update({name: old[name] + h * direction[name] for name in old})
            losses.append(oracle.gradients(*batch).total(oracle.recipe))
        weights.update(old)
        slope = sum(float((gradients[name] * direction[name]).sum()) for name in old)
        assert slope == pytest.approx((losses[0] - losses[1]) / 2e-7, rel=1e-5, abs=1e-7), kind


def test_wrn_28_2_has_the_references_parameters() -> None:
    model = wide_resnet.WideResNet(10)
    shapes = parameter_shapes(filters=32, n_classes=10)
    assert {k: v.shape for k, v in to_numpy(dict(model.named_parameters())).items()} == shapes
    assert sum(math.prod(shape) for shape in shapes.values()) == 1_469_642
    kinds = Counter((name.rpartition(".")[2], len(shape)) for name, shape in shapes.items())
    assert kinds == {
        ("kernel", 4): 28,
        ("kernel", 2): 1,
        ("bias", 1): 29,
        ("gamma", 1): 25,
        ("beta", 1): 25,
    }


def test_every_parameter_of_wrn_28_2_learns() -> None:
    """All gradients are of a size that counts, but for the biases of convolutions.

    What a bias adds, the mean that a batch norm further on subtracts takes away again: every
    path from a convolution leads through one, and 1 x 1 shortcuts pass a constant on as one.
    """
    torch.manual_seed(0)
    model = wide_resnet.WideResNet(10, 16).double()
    images, labels = torch.randn(6, 3, 16, 16, dtype=torch.float64), torch.arange(6)
    nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        gradient = parameter.grad.abs()
        kind = oracle_name(name)
        if kind.endswith("bias") and kind != "dense.bias":
            assert gradient.max() < 1e-12, name
        else:
            assert gradient.min() > 0 and gradient.max() > 1e-4, name
