"""What all strong augmentations have in common."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import CPU, keyed, rates_of, some_images, strong

from fmsel.training.augment import kinds
from fmsel.training.augment.strong import (
    LearnedAugment,
    make_strong,
    strong_names,
)


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
