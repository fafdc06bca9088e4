"""SimCLR: its loss against equation (1), its views against torchvision, its training by laws."""

import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torchvision.models import resnet18
from torchvision.transforms import RandomResizedCrop

from fmsel.artefacts import cache_dir
from fmsel.datasets import ImageDataset, Source, WeakAugment, load_dataset
from fmsel.embeddings.contrastive import colour
from fmsel.embeddings.contrastive.config import CPU, GPU, SimclrConfig, config_for
from fmsel.embeddings.contrastive.loss import nt_xent
from fmsel.embeddings.contrastive.resnet18 import ResNet18
from fmsel.embeddings.contrastive.train import Simclr, features_of
from fmsel.embeddings.contrastive.views import Draws, ViewConfig, augment, crop_and_resize, draw
from fmsel.embeddings.simclr import plan
from fmsel.embeddings.vectors.plan import Request
from fmsel.errors import DataError, FmselError, Interrupted, OptionError

CPU_DEVICE = torch.device("cpu")


def pictures(count: int = 6, height: int = 12, width: int = 12, seed: int = 0) -> Tensor:
    """(N, 3, H, W) uint8, some pixels grey, some with two equal channels, some black or white."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    images[:, 1, :3], images[:, 2, 2:4] = images[:, 0, :3], images[:, 0, 2:4]
    images[:, :, 5], images[:, :, 6], images[:, 0, 7] = 0, 255, 255
    return torch.from_numpy(images)


def noise(count: int = 24, side: int = 8) -> ImageDataset:
    return ImageDataset(
        name="noise",
        source=Source(dataset="./noise"),
        part="train",
        images=pictures(count, side, side).permute(0, 2, 3, 1).numpy().copy(),
        labels=np.full(count, -1),
        ids=np.arange(count).astype(str),
        class_names=(),
        weak=WeakAugment(),
    )


def equation_1(first: np.ndarray, second: np.ndarray, temperature: float) -> float:
    """The mean of l(2k-1, 2k) and l(2k, 2k-1), term by term (Chen et al. 2020, equation 1)."""
    z = [row for pair in zip(first, second, strict=True) for row in pair]

    def sim(i: int, j: int) -> float:
        return float(z[i] @ z[j] / (np.linalg.norm(z[i]) * np.linalg.norm(z[j])))

    def loss(i: int, j: int) -> float:
        others = [k for k in range(len(z)) if k != i]
        below = sum(math.exp(sim(i, k) / temperature) for k in others)
        return -math.log(math.exp(sim(i, j) / temperature) / below)

    pairs = range(len(first))
    return sum(loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in pairs) / len(z)


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(2, 7),
    temperature=st.sampled_from([0.05, 0.1, 0.5, 1.0]),
)
def test_loss_is_equation_1(seed: int, count: int, temperature: float) -> None:
    first, second = np.random.default_rng(seed).normal(size=(2, count, 5))
    found = nt_xent(torch.from_numpy(first), torch.from_numpy(second), temperature)
    assert float(found) == pytest.approx(equation_1(first, second, temperature), rel=1e-10)


def test_gradient_of_the_loss() -> None:
    first, second = torch.randn(
        2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    inputs = (first.requires_grad_(), second.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.1), inputs)


@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (colour.brightness, TF.adjust_brightness, (0.0, 0.6, 0.9, 1.0, 1.3, 2.0)),
        (colour.contrast, TF.adjust_contrast, (0.0, 0.6, 0.9, 1.0, 1.3, 2.0)),
        (colour.saturation, TF.adjust_saturation, (0.0, 0.6, 0.9, 1.0, 1.3, 2.0)),
        (colour.hue, TF.adjust_hue, (-0.5, -0.1, 0.0, 0.03, 0.1, 0.5)),
    ],
)
def test_colour_is_torchvision(
    ours: Callable[[Tensor, Tensor], Tensor],
    theirs: Callable[[Tensor, float], Tensor],
    factors: tuple[float, ...],
) -> None:
    images = pictures().float() / 255
    expected = torch.stack([theirs(x, f) for x, f in zip(images, factors, strict=True)])
    torch.testing.assert_close(ours(images, torch.tensor(factors)), expected, atol=2e-6, rtol=0)


def test_grey_is_torchvision() -> None:
    images = pictures().float() / 255
    torch.testing.assert_close(colour.grey(images), TF.rgb_to_grayscale(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(12, 12), (9, 14)])
def test_crop_is_torchvision(height: int, width: int) -> None:
    images = pictures(200, height, width)
    draws = draw(ViewConfig(), 200, height, width, seed=1, step=2, view=0)
    assert 60 < int(draws.flip.sum()) < 140
    for image, box, flip, found in zip(
        images, draws.box, draws.flip, crop_and_resize(images, draws.box, draws.flip), strict=True
    ):
        one = TF.resized_crop(image.float() / 255, *box.tolist(), [height, width], antialias=True)
        expected = TF.hflip(one) if flip else one
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_a_whole_view_is_torchvision() -> None:
    images = pictures(40)
    draws = draw(ViewConfig(), 40, 12, 12, seed=0, step=0, view=1)
    steps = [TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue]
    for row, found in enumerate(augment(images, draws)):
        view = TF.resized_crop(images[row].float() / 255, *draws.box[row].tolist(), [12, 12])
        view = TF.hflip(view) if draws.flip[row] else view
        for k in draws.order:
            view = steps[k](view, float(draws.factors[row, k]))
        view = TF.rgb_to_grayscale(view, 3) if draws.grey[row] else view
        torch.testing.assert_close(found, 2 * view - 1, atol=1e-5, rtol=0)


def test_boxes_are_distributed_as_torchvisions() -> None:
    config = ViewConfig()
    box = draw(config, 2_000, 32, 32, seed=0, step=0, view=0).box
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        image, scale, ratio = torch.zeros(3, 32, 32), list(config.scale), list(config.ratio)
        drawn = [RandomResizedCrop.get_params(image, scale, ratio) for _ in range(2_000)]
    theirs = torch.tensor(drawn)
    for name, ours, other in (
        ("area", box[:, 2] * box[:, 3], theirs[:, 2] * theirs[:, 3]),
        ("ratio", box[:, 3] / box[:, 2], theirs[:, 3] / theirs[:, 2]),
        ("top", box[:, 0], theirs[:, 0]),
        ("left", box[:, 1], theirs[:, 1]),
    ):
        assert ks_2samp(ours.numpy(), other.numpy()).pvalue > 1e-3, name


def test_boxes_lie_inside_even_where_no_try_fits() -> None:
    config = ViewConfig(scale=(0.9, 1.0), ratio=(3.0, 4.0))
    whole = draw(config, 50, 10, 10, seed=0, step=0, view=0).box
    assert (whole == torch.tensor([0, 0, 10, 10])).all()
    top, left, tall, wide = draw(ViewConfig(), 500, 9, 14, seed=0, step=0, view=0).box.T
    assert (top >= 0).all() and (left >= 0).all() and (tall > 0).all() and (wide > 0).all()
    assert (top + tall <= 9).all() and (left + wide <= 14).all()


def test_how_often_things_happen(seed: int) -> None:
    draws = draw(ViewConfig(), 20_000, 32, 32, seed=seed, step=0, view=0)
    jittered = (draws.factors != torch.tensor(colour.NEUTRAL)).any(dim=1)
    for drawn, share in ((draws.flip, 0.5), (draws.grey, 0.2), (jittered, 0.8)):
        assert float(drawn.float().mean()) == pytest.approx(share, abs=0.02)
    low, high = draws.factors.amin(dim=0), draws.factors.amax(dim=0)
    torch.testing.assert_close(low, torch.tensor([0.6, 0.6, 0.6, -0.1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(high, torch.tensor([1.4, 1.4, 1.4, 0.1]), atol=1e-3, rtol=0)
    orders = {draw(ViewConfig(), 1, 8, 8, seed=seed, step=k, view=0).order for k in range(300)}
    assert len(orders) == 24


def equal(a: Draws, b: Draws, rows: int) -> bool:
    tensors = all(
        torch.equal(getattr(a, name)[:rows], getattr(b, name)[:rows])
        for name in ("box", "flip", "grey", "factors")
    )
    return tensors and a.order == b.order


def test_a_view_depends_on_its_key_alone(seed: int) -> None:
    def made(count: int, step: int, view: int) -> Draws:
        return draw(ViewConfig(), count, 12, 12, seed=seed, step=step, view=view)

    first = made(40, 7, 0)
    assert equal(first, made(40, 7, 0), 40) and equal(first, made(90, 7, 0), 40)
    assert not equal(first, made(40, 8, 0), 40) and not equal(first, made(40, 7, 1), 40)
    images, others = pictures(40), pictures(40, seed=1)
    others[3] = images[3]
    alone, among = augment(images, first)[3], augment(others, first)[3]
    assert torch.equal(alone, among)
    assert not torch.equal(augment(images, first), augment(images, made(40, 7, 1)))


def test_digits_are_never_mirrored() -> None:
    config = config_for(load_dataset("digits"), CPU_DEVICE)
    assert not config.views.flip and config_for(noise(), CPU_DEVICE).views.flip
    draws = draw(config.views, 1_000, 8, 8, seed=0, step=0, view=0)
    assert not draws.flip.any()


def test_configuration_follows_device_and_data() -> None:
    gpu, large = torch.device("cuda"), noise(600, 16)
    assert config_for(large, gpu) == replace(GPU, epochs=1_000)
    assert config_for(large, CPU_DEVICE) == replace(CPU, epochs=500)
    assert config_for(large, CPU_DEVICE, epochs=3).epochs == 3
    small = config_for(noise(24), gpu)
    assert (small.arch, small.batch, small.epochs) == (CPU.arch, 24, 1_000)
    with pytest.raises(OptionError, match="--epochs must be at least 1, got 0"):
        config_for(large, gpu, epochs=0)
    with pytest.raises(DataError, match="needs at least two; noise has fewer"):
        config_for(noise(1), gpu)


def small_config(**changes: object) -> SimclrConfig:
    base = replace(CPU, arch="small-conv-4", epochs=3, batch=8)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_every_epoch_sees_other_batches_of_all_images() -> None:
    learner = Simclr(pictures(26, 8, 8), small_config(), seed=0, precision="fp32")
    assert (learner.per_epoch, learner.steps) == (3, 9)
    epochs = []
    for _ in range(2):
        seen = []
        for _ in range(3):
            seen += learner._batch().tolist()
            learner.advance()
        assert len(set(seen)) == 24  # two of 26 are left out
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_every_step_and_either_view_is_new() -> None:
    images = pictures(8, 8, 8)
    learner = Simclr(images, small_config(), seed=0, precision="fp32")
    views = [learner._view(images, number) for number in (0, 1)]
    learner.advance()
    views += [learner._view(images, number) for number in (0, 1)]
    assert len({each.numpy().tobytes() for each in views}) == 4


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    images = pictures(24, 8, 8)

    def trained(seed: int) -> Tensor:
        learner = Simclr(images, small_config(epochs=1), seed=seed, precision="fp32")
        while learner.step < learner.steps:
            learner.advance()
        return torch.cat([each.flatten() for each in learner.model.state_dict().values()])

    assert torch.equal(trained(0), trained(0)) and not torch.equal(trained(0), trained(1))


def test_a_loss_that_is_not_finite_stops() -> None:
    learner = Simclr(pictures(24, 8, 8), small_config(lr=1e30), seed=0, precision="fp32")
    with pytest.raises(FmselError, match=r"loss of simclr was not finite at step \d of 9"):
        for _ in range(9):
            learner.advance()
            learner.check_finite()


def checkpoints() -> list[Path]:
    return list((cache_dir() / "embeddings").glob("simclr-*.safetensors"))


@pytest.mark.parametrize("stop_at", [1, 4])
def test_stopped_and_resumed_equals_uninterrupted(stop_at: int) -> None:
    data, request = noise(), Request(device=CPU_DEVICE, epochs=5, seed=3)
    made = plan(data, request)
    told: list[float] = []
    expected = made.run(told.append)
    assert expected.shape == (24, made.width) and sum(told) == made.total
    assert checkpoints() == []
    calls = 0

    def interrupt(count: float) -> None:
        nonlocal calls
        calls += 1
        if calls == stop_at + 1:  # the first call tells what was done before
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match=rf"saved at step {stop_at} of 5 in .* to go on"):
        plan(data, request).run(interrupt)
    assert len(checkpoints()) == 1
    other = plan(data, replace(request, seed=4)).run(lambda count: None)  # not from that checkpoint
    assert not np.array_equal(other, expected) and len(checkpoints()) == 1
    told.clear()
    np.testing.assert_array_equal(plan(data, request).run(told.append), expected)
    assert told[0] == 24 * stop_at and sum(told) == made.total
    assert checkpoints() == []


def test_a_broken_checkpoint_only_costs_time() -> None:
    data, request = noise(), Request(device=CPU_DEVICE, epochs=2)
    with pytest.raises(Interrupted):
        plan(data, request).run(lambda count: signal.raise_signal(signal.SIGINT) if count else None)
    checkpoints()[0].write_text("broken")
    again = plan(data, request).run(lambda count: None)
    assert checkpoints() == []
    np.testing.assert_array_equal(again, plan(data, request).run(lambda count: None))


def test_resnet18_is_torchvisions_but_for_its_stem() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        small, large, theirs = ResNet18(1, 32), ResNet18(1, 64).eval(), resnet18(weights=None)
    shapes: list[torch.Size] = []
    small.body.layer1.register_forward_hook(lambda module, inputs, out: shapes.append(out.shape))
    assert small.penultimate(torch.zeros(2, 3, 32, 32)).shape == (2, 512)
    assert shapes == [(2, 64, 32, 32)]  # not halved before the first block
    theirs.fc = torch.nn.Identity()
    theirs.load_state_dict(large.body.state_dict())
    views = pictures(2, 64, 64).float() / 255
    assert torch.equal(large.penultimate(views), theirs.eval()(views))


def leave_one_out(features: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of the 10 nearest others by cosine."""
    model = KNeighborsClassifier(10, metric="cosine").fit(features, labels)
    found = model.kneighbors(n_neighbors=10, return_distance=False)  # never the image itself
    votes = np.array([np.bincount(labels[row], minlength=10) for row in found])
    return float((votes.argmax(axis=1) == labels).mean())


@pytest.mark.slow
def test_training_beats_random_weights_on_digits() -> None:
    data = load_dataset("digits")
    images = torch.tensor(data.images).permute(0, 3, 1, 2).contiguous()
    config = replace(config_for(data, CPU_DEVICE, epochs=20), arch="small-conv-16")
    learner = Simclr(images, config, seed=0, precision="fp32")

    def accuracy() -> float:
        features = features_of(learner.network, images, "fp32", lambda count: None)
        return leave_one_out(features, data.labels)

    before = accuracy()
    while learner.step < learner.steps:
        learner.advance()
    # 0.923 and 0.973 here; 0.928 and 0.966 with another seed
    assert accuracy() > before + 0.02, (before, accuracy())


@pytest.mark.gpu
def test_gpu_agrees_with_the_cpu_on_views_and_trains_in_bf16() -> None:
    gpu, data = torch.device("cuda"), noise(64, 32)
    images = pictures(64, 32, 32)
    draws = draw(ViewConfig(), 64, 32, 32, seed=0, step=0, view=0)
    there = augment(images.to(gpu), draws.to(gpu)).cpu()
    torch.testing.assert_close(there, augment(images, draws), atol=1e-5, rtol=0)
    made = plan(data, Request(device=gpu, epochs=2))
    features = made.run(lambda count: None)
    assert made.parameters["arch"] == "resnet18" and features.shape == (64, 512)
    assert np.isfinite(features).all()
