"""RandAugment of every kind, against Pillow and torchvision, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import (
    CPU,
    Floats,
    Integers,
    Pixels,
    assert_pictures,
    keyed,
    picture_of,
    pillow_op,
    some_images,
)
from PIL import Image, ImageDraw
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import RandAugment as TorchvisionRandAugment
from torchvision.transforms.autoaugment import _apply_op

from fmsel.training.augment.cutout import cornered_boxes, covered
from fmsel.training.augment.randaugment import (
    OPS,
    Policies,
    RandAugment,
    amount_table,
    signed_amounts,
)
from fmsel.training.augment.strong import (
    paper,
    torchvision,
    usb,
)


def applied(augment: RandAugment, images: np.ndarray, policies: Policies) -> torch.Tensor:
    return augment.distort(torch.from_numpy(images), augment.prepare(policies))


def kekmodel_value(name: str, level: int, sign: int, side: int) -> float:
    match name:
        case "posterize":
            return int(level * 4 / 10) + 4
        case "rotate":
            return sign * int(level * 30 / 10)
        case "shear_x" | "shear_y":
            return sign * (float(level) * 0.3 / 10)
        case "solarize":
            return 256 - int(level * 256 / 10)
        case "translate_x" | "translate_y":
            return int(sign * (float(level) * 0.3 / 10) * side)
    return float(level) * 0.9 / 10 + 0.05


def draw_box(
    picture: Image.Image, point: Floats, size: float, colour: tuple[int, ...]
) -> Image.Image:
    """CutoutAbs of kekmodel and USB at a given row and column."""
    width, height = picture.size
    y, x = point
    left, top = int(max(0, x - size / 2.0)), int(max(0, y - size / 2.0))
    picture = picture.copy()
    corners = (left, top, min(width, left + size), min(height, top + size))
    ImageDraw.Draw(picture).rectangle(corners, colour)
    return picture


def assert_paper(images: Pixels, ops: Integers, levels: Integers, signs: Integers) -> None:
    """`paper` with (B, 2) choices, sign 1 negative, and cutouts anywhere."""
    side = images.shape[-1]
    points = np.random.default_rng(0).uniform(0, side, (len(images), 2))
    chosen = [torch.from_numpy(each) for each in (ops, levels, signs)]
    sizes = torch.full((len(images), 1), side // 2)
    policies = Policies(
        chosen[0],
        signed_amounts(amount_table(paper.amount, side), *chosen),
        cornered_boxes(torch.from_numpy(points), sizes, side),
    )
    theirs = []
    for place, image in enumerate(images):
        picture = picture_of(image)
        for op, level, sign in zip(ops[place], levels[place], signs[place], strict=True):
            value = kekmodel_value(OPS[op], int(level), 1 - 2 * int(sign), side)
            picture = pillow_op(OPS[op], picture, value)
        theirs.append(draw_box(picture, points[place], side // 2, (127, 127, 127)))
    assert_pictures(applied(paper.make(side, CPU), images, policies), theirs)


@pytest.mark.parametrize("side", [8, 32, 33, 96])
def test_every_operation_of_paper_equals_pillow(side: int, seed: int) -> None:
    grid = [axis.ravel() for axis in np.mgrid[0 : len(OPS), 1:10, 0:2]]  # all levels and signs
    ops, levels, signs = (np.stack([axis, np.zeros_like(axis)], axis=1) for axis in grid)
    assert_paper(some_images(len(ops), side, seed), ops, levels.clip(1), signs)


@pytest.mark.parametrize("side", [8, 32])
def test_random_policies_of_paper_equal_pillow(side: int, seed: int) -> None:
    rng, shape = np.random.default_rng(seed), (600, 2)
    choices = [rng.integers(*span, shape) for span in [(0, len(OPS)), (1, 10), (0, 2)]]
    assert_paper(some_images(len(choices[0]), side, seed), *choices)


def test_paper_amounts_at_both_ends() -> None:
    table = amount_table(paper.amount, 32)
    ends = {op: (float(row[0]), float(row[-1])) for op, row in zip(OPS, table, strict=True)}
    assert ends["posterize"] == (4, 7)
    assert ends["translate_x"] == ends["translate_y"] == (0, 8)
    assert ends["brightness"] == ends["sharpness"] == pytest.approx((0.14, 0.86))
    assert ends["solarize"] == (231, 26)


USB = {  # least and largest value
    "posterize": (4, 8),
    "rotate": (-30, 30),
    "shear_x": (-0.3, 0.3),
    "shear_y": (-0.3, 0.3),
    "solarize": (0, 256),
    "translate_x": (-0.3, 0.3),
    "translate_y": (-0.3, 0.3),
}


def usb_op(name: str, picture: Image.Image, share: float) -> Image.Image:
    low, high = USB.get(name, (0.05, 0.95))
    value = low + float(high - low) * share
    return pillow_op(name, picture, value * picture.width if "translate" in name else value)


@pytest.mark.parametrize(("side", "count"), [(8, 1000), (32, 1000), (33, 400), (96, 200)])
def test_random_policies_of_usb_equal_pillow(side: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, ops = some_images(count, side, seed), rng.integers(0, len(OPS), (count, 3))
    shares, points = rng.random((count, 3)), rng.uniform(1, side, (count, 2))
    sizes = rng.uniform(0, 0.5, (count, 1)) * side
    policies = Policies(
        torch.from_numpy(ops),
        usb.uniform_amounts(torch.from_numpy(ops), torch.from_numpy(shares), side),
        cornered_boxes(torch.from_numpy(points), torch.from_numpy(sizes), side),
    )
    theirs = []
    for place, image in enumerate(images):
        picture = picture_of(image)
        for op, share in zip(ops[place], shares[place], strict=True):
            picture = usb_op(OPS[op], picture, share)
        theirs.append(draw_box(picture, points[place], sizes[place, 0], (125, 123, 114)))
    assert_pictures(applied(usb.make(side, CPU), images, policies), theirs)


@settings(deadline=None)
@given(
    side=st.integers(4, 40),
    point=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    size=st.floats(0.01, 1),
)
def test_cornered_boxes_are_what_pillow_draws(
    side: int, point: tuple[float, float], size: float
) -> None:
    corner = np.array(point) * side
    picture = draw_box(Image.new("RGB", (side, side)), corner, size * side, (255, 255, 255))
    corners = torch.from_numpy(corner)[None]
    sizes = torch.tensor([[size * side]], dtype=torch.float64)
    ours = covered(cornered_boxes(corners, sizes, side), side).view(side, side)
    np.testing.assert_array_equal(ours.numpy(), np.asarray(picture)[..., 0] == 255)


@pytest.mark.parametrize("name", ["paper", "usb"])
def test_cutouts_lie_where_the_published_code_draws_them(name: str) -> None:
    side, count = 16, 6000
    rng = np.random.RandomState(0)
    drawn = np.zeros((count, side, side), dtype=bool)
    for place in range(count):
        size = side // 2 if name == "paper" else rng.rand() * 0.5 * side
        # USB calls uniform(side), which numpy reads as low = side, high = 1.
        point = rng.uniform(0, side, 2) if name == "paper" else rng.uniform(side, size=2)
        picture = draw_box(Image.new("L", (side, side)), point, size, (255,))
        drawn[place] = np.asarray(picture) == 255
    module = {"paper": paper, "usb": usb}[name]
    policies = module.make(side, CPU).recipe.draw(50_000, side, keyed(0))
    ours = covered(policies.boxes, side).double().mean(0).view(side, side)
    np.testing.assert_allclose(ours.numpy(), drawn.mean(0), atol=0.025)  # 4 standard errors
    tops = drawn.any(2).argmax(1).mean()
    assert abs(float(policies.boxes[:, 0].double().mean()) - tops) < 0.2  # 3.5 standard errors


def test_usb_draws_three_uniform_operations_and_amounts() -> None:
    count = 20_000
    policies = usb.draw(count, 32, torch.Generator().manual_seed(0))
    shares = policies.ops.flatten().bincount() / (3 * count)
    assert policies.ops.shape == (count, 3)
    assert torch.allclose(shares, torch.full((14,), 1 / 14), atol=0.005)
    turns = policies.amounts[policies.ops == OPS.index("rotate")]
    quantiles = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
    expected = torch.tensor([-30.0, -15, 0, 15, 30], dtype=torch.float64)
    assert torch.allclose(turns.quantile(quantiles), expected, atol=0.8)
    bits = policies.amounts[policies.ops == OPS.index("posterize")]
    assert set(bits.tolist()) == {4, 5, 6, 7}


# torchvision itself, on Pillow images. ----------------------------------------------------------


def torchvision_op(op: int, picture: Image.Image, sign: int) -> Image.Image:
    """What `RandAugment.forward` does once it has drawn an operation and a sign."""
    space = TorchvisionRandAugment()._augmentation_space(11, picture.size)
    (name,) = [each for each in space if each.lower() == OPS[op].replace("_", "")]
    magnitudes, signed = space[name]
    magnitude = float(magnitudes[10]) if magnitudes.ndim else 0.0
    magnitude *= sign if signed else 1
    changed: Image.Image = _apply_op(picture, name, magnitude, InterpolationMode.BILINEAR, None)
    return changed


def assert_torchvision(images: Pixels, ops: Integers, seed: int) -> None:
    side = images.shape[-1]
    signs = np.random.default_rng(seed).integers(0, 2, ops.shape) * 2 - 1
    amounts = [
        [torchvision.amount(OPS[op], int(sign), side) for op, sign in zip(*each, strict=True)]
        for each in zip(ops, signs, strict=True)
    ]
    policies = Policies(
        torch.from_numpy(ops),
        torch.tensor(amounts, dtype=torch.float64),
        torch.zeros(len(images), 4, dtype=torch.int64),
    )
    theirs = []
    for place, image in enumerate(images):
        picture = picture_of(image)
        for op, sign in zip(ops[place], signs[place], strict=True):
            picture = torchvision_op(int(op), picture, int(sign))
        theirs.append(picture)
    ours = applied(torchvision.make(side, CPU), images, policies)
    assert_pictures(ours, theirs)


@pytest.mark.parametrize("side", [8, 32, 33, 96])
def test_every_operation_of_torchvision_equals_torchvision(side: int, seed: int) -> None:
    single = np.repeat(np.arange(len(OPS)), 20)
    ops = np.stack([single, np.zeros_like(single)], axis=1)
    assert_torchvision(some_images(len(ops), side, seed), ops, seed)


@pytest.mark.parametrize("side", [8, 32])
def test_random_policies_of_torchvision_equal_torchvision(side: int, seed: int) -> None:
    ops = np.random.default_rng(seed).integers(0, len(OPS), (400, 2))
    assert_torchvision(some_images(len(ops), side, seed), ops, seed)


def test_torchvision_draws_two_operations_with_both_signs() -> None:
    count, side = 20_000, 32
    augment = torchvision.make(side, CPU)
    policies = augment.recipe.draw(count, side, torch.Generator().manual_seed(0))
    shares = policies.ops.flatten().bincount() / (2 * count)
    assert torch.allclose(shares, torch.full((14,), 1 / 14), atol=0.005)
    turns = policies.amounts[policies.ops == OPS.index("rotate")]
    assert set(turns.tolist()) == {-30.0, 30.0}
    assert abs(turns.mean()) < 1.5
