"""What the batch of a step is made of: which image, moved how, distorted or not."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fmsel.datasets import WeakAugment
from fmsel.fixmatch.batches import LabelledBatches, UnlabelledBatches
from fmsel.training.augment.strong import Stateless
from fmsel.training.augment.weak import to_float

SIDE, SHIFT, COUNT = 8, 2, 24
WEAK = WeakAugment(shift=SHIFT, flip=True)


class Lighter(Stateless):
    """A strong augmentation that can be told: it adds a number of its own to each image."""

    def draw(self, count: int, generator: torch.Generator) -> Sequence[Tensor]:
        return [torch.randint(1, 1000, (count,), generator=generator)]

    def distort(self, images: Tensor, draws: Sequence[Tensor]) -> Tensor:
        return to_float(images) + draws[0][:, None, None, None]


def pixels() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (50, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


def moved(images: Tensor, index: Tensor, draws: Tensor) -> Tensor:
    """Mirrored where drawn, padded by reflection, cropped: image by image, in numpy."""
    made = []
    for i, (down, right, mirror) in zip(index.tolist(), draws.T.tolist(), strict=True):
        image = images[i].numpy()
        image = image[..., ::-1] if mirror else image
        padded = np.pad(image, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode="reflect")
        top, left = SHIFT + down, SHIFT + right
        made.append(padded[:, top : top + SIDE, left : left + SIDE])
    return to_float(torch.from_numpy(np.stack(made)))


def test_weak_views_are_moved_and_strong_ones_moved_otherwise_and_distorted(seed: int) -> None:
    images = pixels()
    batches = UnlabelledBatches(images, COUNT, WEAK, Lighter(), seed)
    draws = batches.draw(5)
    index, weak, other, added = draws
    made = batches.make(draws)
    assert torch.equal(made.index, index) and len(set(index.tolist())) == COUNT
    assert torch.equal(made.weak, moved(images, index, weak))
    strong = moved(images, index, other) + added[:, None, None, None]
    assert torch.equal(made.strong, strong)
    assert (weak != other).any(dim=0).float().mean() > 0.5  # draws of their own
    assert np.unique(weak.numpy(), axis=1).shape[1] > COUNT / 2  # each image's own, too


def test_labelled_images_are_moved_and_keep_their_labels(seed: int) -> None:
    images, labels = pixels(), torch.arange(50)
    batches = LabelledBatches(images, labels, COUNT, WEAK, seed)
    draws = batches.draw(5)
    index, weak = draws
    made = batches.make(draws)
    assert torch.equal(made.labels, labels[index]) and made.probe is None
    assert torch.equal(made.images, moved(images, index, weak))
    assert np.unique(weak.numpy(), axis=1).shape[1] > COUNT / 2


def test_every_step_draws_anew_and_a_step_draws_the_same_again(seed: int) -> None:
    images = pixels()
    one, again = (UnlabelledBatches(images, COUNT, WEAK, Lighter(), seed) for _ in range(2))
    for first, second, third in zip(one.draw(5), again.draw(5), one.draw(6), strict=True):
        assert torch.equal(first, second) and not torch.equal(first, third)
