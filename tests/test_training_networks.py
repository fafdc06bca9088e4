"""Networks, against counts and formulas written down independently."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from fmsel.errors import DataError, OptionError
from fmsel.training.networks.build import build_network, parse_architecture
from fmsel.training.networks.network import Network
from fmsel.training.networks.small_conv import GlobalMaxPool
from fmsel.training.networks.wide_resnet import SameConv, WideResNet

WRN = {"n_classes": 10, "image_side": 32, "bn_momentum": 0.001, "seed": 0}


def build(arch: str, **changes: float) -> Network:
    return build_network(arch, **{**WRN, **changes})  # type: ignore[arg-type]


def test_wrn_28_2_has_the_references_parameters() -> None:
    model = build("wrn-28-2")
    assert sum(p.numel() for p in model.parameters()) == 1_469_642
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 28
    assert all(m.bias is not None for m in convolutions)


@pytest.mark.parametrize("arch", ["wrn-28-1", "small-conv-8", "resnet9-8"])
@pytest.mark.parametrize("side", [8, 15, 32])
def test_every_parameter_gets_a_gradient(arch: str, side: int) -> None:
    model = build(arch, image_side=side)
    images = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0))
    model(images).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize(
    ("arch", "width"), [("wrn-28-1", 64), ("small-conv-8", 32), ("resnet9-8", 64)]
)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_head_reads_the_penultimate_features(arch: str, width: int, kind: torch.dtype) -> None:
    """What a hook sees at the last linear layer, in either precision."""
    model, seen = build(arch, image_side=16).eval(), list[Tensor]()
    model.head.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        logits, features = model(images), model.penultimate(images)
        again = model.logits(features)
    assert features.shape == (4, width) == (4, model.head.in_features)
    assert torch.equal(model.feature_scale * features.float(), seen[0])
    assert torch.equal(again, logits) and logits.dtype == torch.float32


def test_the_feature_scale_shrinks_what_the_head_reads_and_its_gradient() -> None:
    model = build("resnet9-8", image_side=16).eval()
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    features = model.penultimate(images).detach()
    grown = {}
    for scale in (1.0, 0.25):
        model.feature_scale = scale
        logits = model(images)
        expected = scale * features @ model.head.weight.T + model.head.bias
        torch.testing.assert_close(logits, expected)
        (grown[scale],) = torch.autograd.grad(logits.sum(), [model.head.weight])
    torch.testing.assert_close(grown[0.25], 0.25 * grown[1.0])


def test_a_fresh_resnet9_is_not_sure_of_what_it_says() -> None:
    """Unscaled it is, and FixMatch then learns from pseudo-labels that mean nothing."""
    model = build("resnet9-16", image_side=32).train()
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    confidence = {}
    for scale in (model.feature_scale, 1.0):
        model.feature_scale = scale
        with torch.no_grad():
            confidence[scale] = float(model(images).softmax(dim=1).amax(dim=1).mean())
    assert confidence.keys() == {0.125, 1.0}
    assert confidence[0.125] < 0.2 < 0.5 < confidence[1.0]


def test_weights_of_a_resnet9_keep_the_scale_that_they_were_learned_with() -> None:
    model, weights = (
        build("resnet9-8", image_side=16),
        build("resnet9-8", image_side=16).state_dict(),
    )
    model.feature_scale = 0.5
    model.load_state_dict(weights)
    assert model.feature_scale == 0.125
    older = {name: value for name, value in weights.items() if name != "_extra_state"}
    assert len(older) == len(weights) - 1
    model.load_state_dict(older)
    assert model.feature_scale == 1
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({k: v for k, v in older.items() if k != "head.bias"})


def plain_block(model: WideResNet, x: Tensor, number: int) -> Tensor:
    """The reference's residual(), line by line, in evaluation mode."""
    weights = {k.removeprefix(f"blocks.{number}."): v for k, v in model.state_dict().items()}

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        scale = weights[f"{name}.weight"] / torch.sqrt(var + 1e-3)
        offset = weights[f"{name}.bias"] - mean * scale
        out: Tensor = x * scale[:, None, None] + offset[:, None, None]
        return out

    stride = 2 if number in (4, 8) else 1
    active = torch.maximum(norm(x, "norm1"), 0.1 * norm(x, "norm1"))
    kept = active if number == 0 else x
    padding = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)
    y = F.conv2d(F.pad(active, padding), weights["conv1.weight"], weights["conv1.bias"], stride)
    y = torch.maximum(norm(y, "norm2"), 0.1 * norm(y, "norm2"))
    y = F.conv2d(F.pad(y, (1, 1, 1, 1)), weights["conv2.weight"], weights["conv2.bias"])
    if "shortcut.weight" in weights:
        kept = F.conv2d(kept, weights["shortcut.weight"], weights["shortcut.bias"], stride)
    out: Tensor = kept + y
    return out


def test_blocks_equal_the_reference_written_out() -> None:
    model = WideResNet(10, width=16).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():  # also shift biases and batch norm off their start
                value += 0.1 * torch.rand(value.shape, generator=generator)
            assert name
        x = model.stem(torch.randn(2, 3, 32, 32, generator=generator))
        for number, block in enumerate(model.blocks):
            expected = plain_block(model, x, number)
            x = block(x)
            torch.testing.assert_close(x, expected, rtol=1e-4, atol=1e-4)
    assert x.shape == (2, 64, 8, 8)


@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("kernel", [1, 3])
def test_same_convolution_output_is_tensorflows(side: int, kernel: int) -> None:
    """TensorFlow: ceil(side / stride) positions; window k starts at `stride k - before`."""
    layer = SameConv(1, 1, kernel, 2)
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.zero_()  # type: ignore[union-attr]
    image = np.random.default_rng(0).random((side, side)).astype(np.float32)
    outputs = math.ceil(side / 2)
    before = max((outputs - 1) * 2 + kernel - side, 0) // 2
    windows = [range(2 * k - before, 2 * k - before + kernel) for k in range(outputs)]
    expected = [
        [
            sum(image[r, c] for r in rows for c in cols if 0 <= r < side and 0 <= c < side)
            for cols in windows
        ]
        for rows in windows
    ]
    got = layer(torch.from_numpy(image)[None, None])[0, 0].detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_initialisation_has_the_references_spread() -> None:
    model = WideResNet(10, width=64)
    convolution = model.blocks[-1].conv2.weight  # type: ignore[union-attr]
    assert isinstance(convolution, Tensor)
    assert convolution.std().item() == pytest.approx((0.5 * 9 * 256) ** -0.5, rel=0.01)
    assert model.head.weight.std().item() == pytest.approx((2 / (256 + 10)) ** 0.5, rel=0.05)
    assert not model.head.bias.any()


def test_initial_weights_depend_on_the_seed_and_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (build("small-conv-8", seed=s).state_dict() for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first["head.weight"], again["head.weight"])
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize("name", ["resnet", "wrn-28", "wrn-28-0", "small-conv-", "wrn-40-2"])
def test_unknown_networks_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match=f"unknown arch '{name}'; use wrn-28-K"):
        parse_architecture(name)


@pytest.mark.parametrize("arch", ["wrn-28-2", "small-conv-8", "resnet9-8"])
def test_images_too_small_are_refused(arch: str) -> None:
    with pytest.raises(DataError, match="images of 7 pixels are too small"):
        build(arch, image_side=7)


@pytest.mark.parametrize("arch", ["wrn-28-1", "small-conv-8", "resnet9-8"])
def test_no_layer_is_refused_where_bits_must_be_equal(arch: str) -> None:
    """torch.use_deterministic_algorithms lists it: no deterministic gradient on a GPU."""
    assert not any(isinstance(each, nn.AdaptiveMaxPool2d) for each in build(arch).modules())


@given(
    seed=st.integers(0, 2**16),
    side=st.integers(1, 5),
    levels=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_global_max_pool_has_the_bits_of_torchs(
    seed: int, side: int, levels: int, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    """Of its output and of its gradient, also where many positions are equal."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(levels, (3, 4, side, side), generator=generator)
    upstream = torch.randn(3, 4, 1, 1, generator=generator).to(dtype)
    outcomes = []
    for pool in (GlobalMaxPool(), nn.AdaptiveMaxPool2d(1)):
        features = values.to(dtype).contiguous(memory_format=layout).requires_grad_()
        pooled = pool(features)
        pooled.backward(upstream)
        assert features.grad is not None
        outcomes.append((pooled, features.grad))
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    assert torch.equal(outcomes[0][1], outcomes[1][1])
