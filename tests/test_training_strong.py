"""Strong augmentations, against Pillow, torchvision and numpy, bit for bit."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import RandAugment as TorchvisionRandAugment
from torchvision.transforms.autoaugment import _apply_op

from fmsel.training.augment import ctaugment as cta_operations
from fmsel.training.augment import kinds
from fmsel.training.augment.cutout import cornered_boxes, covered
from fmsel.training.augment.randaugment import (
    OPS,
    Policies,
    RandAugment,
    amount_table,
    signed_amounts,
)
from fmsel.training.augment.strong import (
    LearnedAugment,
    Probe,
    StrongAugment,
    ctaugment,
    make_strong,
    paper,
    strong_names,
    torchvision,
    usb,
)
from fmsel.training.augment.weak import to_float

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
CPU = torch.device("cpu")
ENHANCE = {
    "brightness": ImageEnhance.Brightness,
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}


def some_images(count: int, side: int, seed: int) -> Pixels:
    """(count, 3, side, side): noise, ramps, narrow ranges and equal channels with flat parts."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, side, side))
    images[1::4] = np.linspace(0, 255, side).astype(int)[:, None] + images[1::4] // 9
    images[2::4] = 100 + images[2::4] // 5
    images[3::4] = np.where(images[3::4, :1] > 128, images[3::4, :1], 16)
    return images.clip(0, 255).astype(np.uint8)


def picture_of(image: Pixels) -> Image.Image:
    return Image.fromarray(image.transpose(1, 2, 0))


def pixels_of(picture: Image.Image) -> Pixels:
    return np.asarray(picture).transpose(2, 0, 1)


def affine(picture: Image.Image, *coefficients: float) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, coefficients)


def strong(augment: StrongAugment, images: torch.Tensor, seed: int) -> torch.Tensor:
    return augment.distort(images, augment.draw(len(images), keyed(seed)))


def applied(augment: RandAugment, images: np.ndarray, policies: Policies) -> torch.Tensor:
    return augment.distort(torch.from_numpy(images), augment.prepare(policies))


def assert_pictures(ours: torch.Tensor, theirs: list[Image.Image]) -> None:
    expected = np.stack([pixels_of(picture) for picture in theirs])
    np.testing.assert_array_equal(ours.numpy(), to_float(torch.from_numpy(expected)).numpy())


# kekmodel and USB: the same operations on RGB images, with their own ranges. --------------------


def pillow_op(name: str, picture: Image.Image, value: float) -> Image.Image:
    match name:
        case "identity":
            return picture
        case "autocontrast":
            return ImageOps.autocontrast(picture)
        case "equalize":
            return ImageOps.equalize(picture)
        case "posterize":
            return ImageOps.posterize(picture, int(value))
        case "solarize":
            # Pillow compares every value of 0..255 with the threshold, a fraction or not.
            return ImageOps.solarize(picture, value)  # type: ignore[arg-type]
        case "rotate":
            return picture.rotate(value)
        case "shear_x":
            return affine(picture, 1, value, 0, 0, 1, 0)
        case "shear_y":
            return affine(picture, 1, 0, 0, value, 1, 0)
        case "translate_x":
            return affine(picture, 1, 0, value, 0, 1, 0)
        case "translate_y":
            return affine(picture, 1, 0, 0, 0, 1, value)
    return ENHANCE[name](picture).enhance(value)


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


# CTAugment. -------------------------------------------------------------------------------------

FILTERS = (
    Image.Resampling.LANCZOS,
    Image.Resampling.BICUBIC,
    Image.Resampling.BILINEAR,
    Image.Resampling.BOX,
    Image.Resampling.HAMMING,
    Image.Resampling.NEAREST,
)
BLENDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "autocontrast": ImageOps.autocontrast,
    "blur": lambda picture: picture.filter(ImageFilter.BLUR),
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
    "smooth": lambda picture: picture.filter(ImageFilter.SMOOTH),
}


def cta_cutout(picture: Image.Image, level: float, row: int, column: int) -> Image.Image:
    pixels = np.array(picture)
    half = (1 + int(level * picture.width * 0.499)) // 2
    pixels[max(0, row - half) : row + half, max(0, column - half) : column + half] = 127
    return Image.fromarray(pixels)


def cta_op(name: str, picture: Image.Image, levels: Floats, centre: list[int]) -> Image.Image:
    level, side = float(levels[0]), picture.width
    if name in BLENDS:
        return Image.blend(picture, BLENDS[name](picture), level)
    if name in ENHANCE:
        return ENHANCE[name](picture).enhance(0.1 + 1.9 * level)
    shift = (2 * level - 1) * 0.3
    match name:
        case "cutout":
            return cta_cutout(picture, level, centre[0], centre[1])
        case "identity":
            return picture
        case "posterize":
            return ImageOps.posterize(picture, 1 + int(level * 7.999))
        case "rescale":
            scale = level * 0.25
            box = (scale * side, scale * side, side * (1 - scale), side * (1 - scale))
            cropped = picture.crop(box)
            return cropped.resize(picture.size, FILTERS[int(levels[1] * 5.99)])
        case "rotate":
            return picture.rotate(int(np.round((2 * level - 1) * 45)))
        case "solarize":
            return ImageOps.solarize(picture, int(level * 255.999))
    return pillow_op(name, picture, shift)


CTA_BINS: dict[str, list[int]] = {  # the reference's `register`
    "autocontrast": [17],
    "blur": [17],
    "brightness": [17],
    "color": [17],
    "contrast": [17],
    "cutout": [17],
    "equalize": [17],
    "invert": [17],
    "identity": [],
    "posterize": [8],
    "rescale": [17, 6],
    "rotate": [17],
    "sharpness": [17],
    "shear_x": [17],
    "shear_y": [17],
    "smooth": [17],
    "solarize": [17],
    "translate_x": [17],
    "translate_y": [17],
}
CTA_OPS = list(CTA_BINS)


def pillow_chain(image: Pixels, ops: list[int], levels: Floats, centres: list[list[int]]) -> Pixels:
    picture = picture_of(image)
    for op, level, centre in zip(ops, levels, centres, strict=True):
        picture = cta_op(CTA_OPS[op], picture, level, centre)
    return pixels_of(picture)


def test_ctaugment_has_the_operations_and_bins_of_the_reference() -> None:
    assert {op: list(bins) for op, bins in cta_operations.BINS.items()} == CTA_BINS
    assert list(cta_operations.OPS) == CTA_OPS
    assert len(CTA_OPS) == 19


@pytest.mark.parametrize("side", [8, 32, 33])
@pytest.mark.parametrize("name", CTA_OPS)
def test_every_operation_of_ctaugment_equals_pillow(name: str, side: int) -> None:
    rng = np.random.default_rng(side)
    levels = np.stack([np.linspace(0, 1 - 1e-9, 182), rng.random(182)], axis=1)
    images, centres = some_images(182, side, seed=side), rng.integers(0, side, (182, 2))
    ops = torch.full((182, 1), CTA_OPS.index(name))
    tensors = [torch.from_numpy(each)[:, None] for each in (levels, centres)]
    ours = cta_operations.Operations(side, CPU)(
        torch.from_numpy(images).flatten(2), ops, tensors[0], tensors[1]
    )
    for place, image in enumerate(images):
        theirs = pixels_of(cta_op(name, picture_of(image), levels[place], centres[place].tolist()))
        np.testing.assert_array_equal(ours[place].view(3, side, side).numpy(), theirs)


def rates_of(seed: int, side: int = 16) -> ctaugment.CTAugment:
    """With rates as in the middle of a training."""
    augment = ctaugment.make(side, CPU)
    augment.rates.copy_(1 - 0.4 * torch.rand(augment.rates.shape, generator=keyed(seed)))
    return augment


def keyed(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_ctaugment_is_two_operations_and_a_cutout(seed: int) -> None:
    count, side = 300, 32
    augment = rates_of(seed, side)
    images = some_images(count, side, seed)
    ours = strong(augment, torch.from_numpy(images), seed)
    draws = ctaugment.draw(count, side, keyed(seed))
    levels, centres = augment.levels(draws).numpy(), draws.centres.tolist()
    theirs = []
    for place, image in enumerate(images):
        chained = pillow_chain(image, draws.ops[place].tolist(), levels[place], centres[place][:2])
        theirs.append(cta_cutout(picture_of(chained), 1.0, *centres[place][2]))
    assert_pictures(ours, theirs)


def test_bins_are_drawn_as_the_reference_does(seed: int) -> None:
    augment = rates_of(seed)
    draws = ctaugment.draw(3000, 16, keyed(seed))
    levels = augment.levels(draws).numpy()
    used = set()
    for place, (op, slot) in enumerate((op, slot) for op in draws.ops.tolist() for slot in (0, 1)):
        for parameter, bins in enumerate(CTA_BINS[CTA_OPS[op[slot]]]):
            weights = augment.rates[op[slot], parameter, :bins].numpy() + np.float32(0.01)
            weights /= weights.max()
            weights[weights < 0.80] = 0
            cumulative = weights.astype(np.float64).cumsum()
            at = (place // 2, slot, parameter)
            quantile = float(draws.quantile[at])
            chosen = np.searchsorted(cumulative / cumulative[-1], quantile, side="right")
            assert levels[at] == (chosen + float(draws.within[at])) / bins
            used.add(weights[chosen] > 0)
    assert used == {True}


def test_bins_are_uniform_at_first() -> None:
    probabilities = ctaugment.make(16, CPU).bin_probabilities()
    for op, bins in enumerate(CTA_BINS.values()):
        for parameter, number in enumerate(bins):
            expected = [1 / number] * number + [0.0] * (17 - number)
            assert probabilities[op, parameter].tolist() == pytest.approx(expected)


def test_probes_are_two_operations_over_the_whole_range(seed: int) -> None:
    count, side = 200, 16
    images = some_images(count, side, seed)
    draws = ctaugment.draw(count, side, keyed(seed))
    probe = rates_of(seed, side).probe(torch.from_numpy(images), draws)
    within, centres = draws.within.numpy(), draws.centres.tolist()
    chains = [
        pillow_chain(image, draws.ops[place].tolist(), within[place], centres[place][:2])
        for place, image in enumerate(images)
    ]
    assert_pictures(probe.images, [picture_of(chain) for chain in chains])


def test_rates_are_updated_as_by_the_reference_loop(seed: int) -> None:
    augment = rates_of(seed)
    rng = np.random.default_rng(seed)
    rates = augment.rates.numpy().copy()
    images = torch.from_numpy(some_images(64, 16, seed))
    for step in range(5):
        probabilities = rng.dirichlet(np.full(10, 0.2), 64).astype(np.float32)
        labels = rng.integers(0, 10, 64)
        probe = augment.probe(images, augment.draw(len(images), keyed(step)))
        augment.learn(probe, torch.from_numpy(probabilities), torch.from_numpy(labels))
        draws = ctaugment.draw(64, 16, keyed(step))
        for place in range(64):
            error = np.abs(probabilities[place] - np.eye(10)[labels[place]]).sum()
            for op, values in zip(draws.ops[place], draws.within[place].tolist(), strict=True):
                for parameter, bins in enumerate(CTA_BINS[CTA_OPS[op]]):
                    cell = (int(op), parameter, int(values[parameter] * bins * 0.999))
                    rates[cell] = rates[cell] * 0.99 + (1 - 0.5 * error) * 0.01
    changed = rates != rates_of(seed).rates.numpy()
    assert 0.3 < changed.mean() < 1
    np.testing.assert_allclose(augment.rates.numpy(), rates, rtol=0, atol=1e-6)


def test_many_probes_of_one_bin_count_one_after_the_other() -> None:
    augment = ctaugment.make(8, CPU)
    cell = CTA_OPS.index("rotate") * 34 + 5
    record = torch.tensor([[[cell, -1], [cell, -1]]] * 3)
    probe = Probe(images=torch.zeros(3, 3, 8, 8), record=record)
    right = [0.0, 0.25, 1.0]
    probabilities = torch.tensor([[p, 1 - p] for p in right])
    augment.learn(probe, probabilities, torch.zeros(3, dtype=torch.int64))
    expected = 1.0
    for proximity in np.repeat(right, 2):
        expected = 0.99 * expected + 0.01 * proximity
    assert augment.rates.flatten()[cell].item() == pytest.approx(expected, abs=1e-6)
    assert int((augment.rates != 1).sum()) == 1


def test_rates_are_state_and_change_in_place() -> None:
    augment, other = rates_of(1), ctaugment.make(16, CPU)
    assert isinstance(augment, LearnedAugment)
    rates = other.state_dict()["rates"]
    place = rates.data_ptr()
    other.load_state_dict(augment.state_dict())
    assert torch.equal(rates, augment.rates)
    probe = other.probe(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), other.draw(2, keyed(0)))
    other.learn(probe, torch.full((2, 3), 1 / 3), torch.tensor([0, 2]))
    assert place == rates.data_ptr() == other.rates.data_ptr()
    assert not torch.equal(rates, augment.rates)


# All. -------------------------------------------------------------------------------------------


def test_the_five_augmentations_are_there() -> None:
    assert strong_names() == ["ctaugment", "google-code", "paper", "torchvision", "usb"]


@pytest.mark.parametrize("side", [8, 32, 33])
@pytest.mark.parametrize("name", strong_names())
def test_every_augmentation_is_keyed_by_its_generator_only(name: str, side: int) -> None:
    images = torch.from_numpy(some_images(20, side, seed=0))
    before, state = images.clone(), torch.get_rng_state()
    augment = make_strong(name, side, CPU)
    first, again, other = (strong(augment, images, seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.shape == images.shape
    assert first.dtype == torch.float32
    assert -1 <= first.min() <= first.max() <= 1


@pytest.mark.parametrize("side", [8, 32, 33])
@pytest.mark.parametrize("name", strong_names())
def test_fixed_shapes_give_the_same_bits(
    name: str, side: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How a GPU does it: every operation sees every image, and nothing is read on the host."""
    images = torch.from_numpy(some_images(300, side, seed))
    augment = rates_of(seed, side) if name == "ctaugment" else make_strong(name, side, CPU)
    expected = strong(augment, images, seed)
    draws = augment.draw(len(images), keyed(seed))
    probe = augment.probe(images, draws) if isinstance(augment, LearnedAugment) else None
    monkeypatch.setattr(kinds, "GROUPED_ON", ())
    assert torch.equal(strong(augment, images, seed), expected)
    if probe is not None:
        assert isinstance(augment, LearnedAugment)
        again = augment.probe(images, draws)
        assert torch.equal(again.images, probe.images) and torch.equal(again.record, probe.record)


@given(data=st.data())
def test_both_ways_of_giving_images_their_operations_agree(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 12))
    pixels = torch.arange(count * 6, dtype=torch.uint8).view(count, 2, 3)
    chosen = torch.tensor(
        data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), dtype=torch.int64
    )
    shifts = torch.arange(count, dtype=torch.uint8)
    operations: list[kinds.Operation | None] = [
        lambda images, shift: images + shift[:, None, None],
        None,
        lambda images, shift: 255 - images,
        lambda images, shift: images.flip(2),
    ]
    first = kinds.grouped(pixels, chosen, operations, shifts)
    assert torch.equal(first, kinds.everywhere(pixels, chosen, operations, shifts))
    for place, kind in enumerate(chosen.tolist()):
        alone = pixels[place : place + 1]
        operation = operations[kind]
        done = alone if operation is None else operation(alone, shifts[place : place + 1])
        assert torch.equal(first[place : place + 1], done)
