"""Augmentations, against Pillow and brute force."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from fmsel.datasets import WeakAugment
from fmsel.errors import DataError
from fmsel.training.augment.cutout import centred_boxes
from fmsel.training.augment.randaugment import OPS, Policies, amount_table, signed_amounts
from fmsel.training.augment.strong import google_code
from fmsel.training.augment.weak import to_float, weak_augment

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
CPU = torch.device("cpu")


def some_images(count: int, side: int, seed: int) -> Pixels:
    """(count, 3, side, side): noise, ramps, narrow ranges and flat channels."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, side, side))
    images[1::4] = np.linspace(0, 255, side).astype(int)[:, None] + images[1::4] // 9
    images[2::4] = 100 + images[2::4] // 5
    images[3::4, 0] = 77
    return images.clip(0, 255).astype(np.uint8)


# The reference's operations, written with Pillow on RGBA images. -------------------------------


def affine(image: Image.Image, *coefficients: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, coefficients)


def opaque(function: Callable[[Image.Image], Image.Image], image: Image.Image) -> Image.Image:
    return function(image.convert("RGB")).convert("RGBA")


def pillow_op(name: str, image: Image.Image, level: int, sign: int) -> Image.Image:
    factor = float(level) * 1.8 / 10 + 0.1
    shear = sign * (float(level) * 0.3 / 10)
    shift = sign * int(level * image.width / 32)
    match name:
        case "identity":
            return image
        case "rotate":
            return image.rotate(sign * int(level * 30 / 10))
        case "shear_x":
            return affine(image, 1, shear, 0, 0, 1, 0)
        case "shear_y":
            return affine(image, 1, 0, 0, shear, 1, 0)
        case "translate_x":
            return affine(image, 1, 0, shift, 0, 1, 0)
        case "translate_y":
            return affine(image, 1, 0, 0, 0, 1, shift)
        case "brightness":
            return ImageEnhance.Brightness(image).enhance(factor)
        case "color":
            return ImageEnhance.Color(image).enhance(factor)
        case "contrast":
            return ImageEnhance.Contrast(image).enhance(factor)
        case "sharpness":
            return ImageEnhance.Sharpness(image).enhance(factor)
        case "autocontrast":
            return opaque(ImageOps.autocontrast, image)
        case "equalize":
            return opaque(ImageOps.equalize, image)
        case "posterize":
            bits = 4 - int(level * 4 / 10)
            return opaque(lambda rgb: ImageOps.posterize(rgb, bits), image)
        case "solarize":
            threshold = 256 - int(level * 256 / 10)
            return opaque(lambda rgb: ImageOps.solarize(rgb, threshold), image)
    raise AssertionError(name)


def pillow_chain(
    image: Pixels, ops: list[str], levels: list[int], signs: list[int], centre: list[int]
) -> npt.NDArray[np.float32]:
    """(3, S, S) uint8 -> float in [-1, 1]: two operations, grey holes, cutout."""
    picture = Image.fromarray(image.transpose(1, 2, 0)).convert("RGBA")
    for op, level, sign in zip(ops, levels, signs, strict=True):
        picture = pillow_op(op, picture, level, sign)
    pixels = np.asarray(picture)
    values = (torch.from_numpy(pixels[..., :3].copy()).float() * (2 / 255) - 1).numpy()
    values[pixels[..., 3] == 0] = 0
    reach = picture.width // 4
    (row, column) = centre
    values[max(row - reach, 0) : row + reach, max(column - reach, 0) : column + reach] = 0
    return values.transpose(2, 0, 1)


def assert_equal_to_pillow(
    images: Pixels, ops: Integers, levels: Integers, signs: Integers, centres: Integers
) -> None:
    """All choices (B, 2), as the reference draws them; sign 1 is negative."""
    side = images.shape[-1]
    chosen = [torch.from_numpy(each) for each in (ops, levels, signs)]
    amounts = signed_amounts(amount_table(google_code.amount, side), *chosen)
    policies = Policies(chosen[0], amounts, centred_boxes(torch.from_numpy(centres), side // 4))
    augment = google_code.make(side, CPU)
    ours = augment.distort(torch.from_numpy(images), augment.prepare(policies)).numpy()
    for place, image in enumerate(images):
        expected = pillow_chain(
            image,
            [OPS[op] for op in ops[place]],
            levels[place].tolist(),
            (1 - 2 * signs[place]).tolist(),
            centres[place].tolist(),
        )
        np.testing.assert_array_equal(ours[place], expected)


@pytest.mark.parametrize("side", [8, 32, 33, 96])
@pytest.mark.parametrize("op", OPS)
def test_every_operation_level_and_sign_equals_pillow(op: str, side: int) -> None:
    levels, signs = (grid.ravel() for grid in np.mgrid[1:10, 0:2])
    ops = np.stack([np.full_like(levels, OPS.index(op)), np.zeros_like(levels)], axis=1)
    images = some_images(len(levels), side, seed=side)
    both = [np.stack([each, each], axis=1) for each in (levels, signs)]
    centres = np.full((len(levels), 2), side // 2)
    assert_equal_to_pillow(images, ops, both[0], both[1], centres)


@pytest.mark.parametrize("side", [8, 32])
def test_random_two_operation_policies_equal_pillow(side: int, seed: int) -> None:
    rng = np.random.default_rng([seed, side])
    count = 800
    shape = (count, 2)
    assert_equal_to_pillow(
        some_images(count, side, seed),
        rng.integers(0, len(OPS), shape),
        rng.integers(1, 10, shape),
        rng.integers(0, 2, shape),
        rng.integers(0, side, shape),
    )


def test_policies_are_drawn_as_in_the_reference() -> None:
    count = 40_000
    draw = google_code.make(32, CPU).recipe.draw
    policies = draw(count, 32, torch.Generator().manual_seed(0))
    shares = torch.bincount(policies.ops.flatten(), minlength=len(OPS)) / (2 * count)
    expected = torch.full((len(OPS),), 0.5 / 14)
    expected[0] += 0.5  # each operation is left out with probability 0.5
    assert torch.allclose(shares, expected, atol=0.005)
    turns, counts = torch.unique(
        policies.amounts[policies.ops == OPS.index("rotate")], return_counts=True
    )
    assert turns.tolist() == sorted(sign * 3 * level for sign in (-1, 1) for level in range(1, 10))
    assert torch.allclose(counts / counts.sum(), torch.full((18,), 1 / 18), atol=0.02)
    assert set((policies.boxes[:, :2] + 8).flatten().tolist()) == set(range(32))


def test_randaugment_is_keyed_by_its_generator_only() -> None:
    images = torch.from_numpy(some_images(8, 16, seed=1))
    augment = google_code.make(16, CPU)
    drawn = (augment.draw(len(images), torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    first, again, other = (augment.distort(images, draws) for draws in drawn)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def weak_by_hand(image: Pixels, policy: WeakAugment) -> list[bytes]:
    """Every outcome of the weak augmentation of (3, H, W), by numpy's padding."""
    side, shift = image.shape[-1], policy.shift
    flips = [image, image[:, :, ::-1]] if policy.flip else [image]
    return [
        padded[:, y : y + side, x : x + side].tobytes()
        for flipped in flips
        for padded in [np.pad(flipped, ((0, 0), (shift, shift), (shift, shift)), mode="reflect")]
        for y in range(2 * shift + 1)
        for x in range(2 * shift + 1)
    ]


@settings(max_examples=15, deadline=None)
@given(flip=st.booleans(), shift=st.integers(0, 2), side=st.integers(4, 9), seed=st.integers(0, 99))
def test_weak_augmentation_draws_every_flipped_crop_and_nothing_else(
    flip: bool, shift: int, side: int, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (3, side, side), dtype=np.uint8)
    policy = WeakAugment(flip=flip, shift=shift)
    batch = torch.from_numpy(image).expand(1500, -1, -1, -1)
    drawn = weak_augment(batch, policy, torch.Generator().manual_seed(seed)).numpy()
    assert {each.tobytes() for each in drawn} == set(weak_by_hand(image, policy))


def test_weak_shift_as_large_as_the_image_is_refused() -> None:
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(DataError, match="shift of 4 pixels needs images larger than 4 x 4"):
        weak_augment(images, WeakAugment(shift=4), torch.Generator())


def test_to_float_spans_minus_one_to_one() -> None:
    assert to_float(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]
