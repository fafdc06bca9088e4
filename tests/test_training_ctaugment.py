"""CTAugment, against Pillow and the reference's loop."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pictures import (
    CPU,
    ENHANCE,
    Floats,
    Pixels,
    assert_pictures,
    keyed,
    picture_of,
    pillow_op,
    pixels_of,
    rates_of,
    some_images,
    strong,
)
from PIL import Image, ImageFilter, ImageOps

from fmsel.training.augment import ctaugment as cta_operations
from fmsel.training.augment.strong import (
    LearnedAugment,
    Probe,
    ctaugment,
)

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
