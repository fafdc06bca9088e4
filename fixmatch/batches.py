"""The images of every step, as a function of (seed, step): nothing to save, exact to resume."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fmsel.datasets import WeakAugment
from fmsel.seeds import torch_seed
from fmsel.training.augment.strong import LearnedAugment, Probe, StrongAugment
from fmsel.training.augment.weak import check_shift, draw_weak, to_float, weak_view


class EpochSampler:
    """Batches from an endless row of permutations of 0..n-1, one keyed permutation an epoch.

    Every image is seen equally often (the reference's shuffle buffer comes close to that), and
    batch `step` can be had without its predecessors. A batch may span several epochs.

    Args:
        n: size of the set.
        batch: indices a step.
        seed: the training seed.
        purpose: name of the random stream.
    """

    def __init__(self, n: int, batch: int, seed: int, purpose: str) -> None:
        self.n, self.batch, self.seed, self.purpose = n, batch, seed, purpose
        self._epochs: dict[int, Tensor] = {}  # those that the last batch touched

    def __call__(self, step: int) -> Tensor:
        """(batch,) int64 indices of step 0, 1, …, on the CPU."""
        start, stop = step * self.batch, (step + 1) * self.batch
        epochs = range(start // self.n, (stop - 1) // self.n + 1)
        self._epochs = {epoch: self._permutation(epoch) for epoch in epochs}
        row = torch.cat(list(self._epochs.values()))
        first = start - epochs[0] * self.n
        return row[first : first + self.batch]

    def _permutation(self, epoch: int) -> Tensor:
        if epoch in self._epochs:
            return self._epochs[epoch]
        return torch.randperm(self.n, generator=keyed(self.seed, self.purpose, epoch))


def keyed(seed: int, purpose: str, step: int) -> torch.Generator:
    """A CPU generator for one purpose at one step."""
    return torch.Generator().manual_seed(torch_seed(seed, purpose, step))


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """B labelled images of one step, weakly augmented."""

    images: Tensor  # (B, 3, H, W) float32 in [-1, 1]
    labels: Tensor  # (B,) int64
    probe: Probe | None = None  # distorted copies, where the strong augmentation learns from them


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """U = mu B unlabelled images of one step, in two views."""

    weak: Tensor  # (U, 3, H, W) float32 in [-1, 1]
    strong: Tensor  # (U, 3, H, W) float32 in [-1, 1]
    index: Tensor  # (U,) int64, positions in the unlabelled set, on the device


def packed(draws: Sequence[Tensor]) -> Tensor:
    """int64 and float64 tensors on the CPU as one of int64, (n,): one copy takes it to a device."""
    return torch.cat([each.contiguous().view(torch.int64).flatten() for each in draws])


def unpacked(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `packed`, on the device of `flat`; shapes and dtypes are those of `like`."""
    parts = torch.split(flat, [each.numel() for each in like])
    return [part.view(each.dtype).view(each.shape) for part, each in zip(parts, like, strict=True)]


class LabelledBatches:
    """Weakly augmented labelled batches.

    Args:
        images: (M, 3, H, W) uint8 on the device.
        labels: (M,) int64 on the device.
        batch: B.
        weak: the data set's weak augmentation.
        seed: the training seed.
        learned: a strong augmentation that is to get probes.
    Raises:
        DataError: as `check_shift`.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        batch: int,
        weak: WeakAugment,
        seed: int,
        learned: LearnedAugment | None = None,
    ) -> None:
        check_shift(weak, min(images.shape[2:]))
        self.images, self.labels, self.weak, self.seed = images, labels, weak, seed
        self.batch, self.learned = batch, learned
        self.sampler = EpochSampler(len(images), batch, seed, "labelled order")

    def draw(self, step: int) -> list[Tensor]:
        """All the chance in step 0, 1, …, on the CPU: the indices first."""
        generator = keyed(self.seed, "labelled augmentation", step)
        draws = [self.sampler(step), draw_weak(self.batch, self.weak, generator)]
        if self.learned is not None:
            draws += self.learned.draw(self.batch, keyed(self.seed, "probes", step))
        return draws

    def make(self, draws: Sequence[Tensor]) -> Labelled:
        """The batch of these draws, which are on the device; no host wait."""
        index, weak, *probing = draws
        images = weak_view(self.images[index], weak)
        probe = None if self.learned is None else self.learned.probe(images, probing)
        return Labelled(images=to_float(images), labels=self.labels[index], probe=probe)


class UnlabelledBatches:
    """Weak and strong views of unlabelled batches.

    The strong view starts from a weak augmentation of its own (reference code: `ms(4)` before
    the strong operations).

    Args:
        images: (N, 3, H, W) uint8 on the device, H = W.
        batch: U = mu B.
        weak: the data set's weak augmentation.
        strong: what is done to the strong views after their weak augmentation.
        seed: the training seed.
    Raises:
        DataError: as `check_shift`.
    """

    def __init__(
        self, images: Tensor, batch: int, weak: WeakAugment, strong: StrongAugment, seed: int
    ) -> None:
        check_shift(weak, min(images.shape[2:]))
        self.images, self.weak, self.strong, self.seed = images, weak, strong, seed
        self.batch = batch
        self.sampler = EpochSampler(len(images), batch, seed, "unlabelled order")

    def draw(self, step: int) -> list[Tensor]:
        """All the chance in step 0, 1, …, on the CPU: the indices first."""
        weak = draw_weak(self.batch, self.weak, keyed(self.seed, "weak augmentation", step))
        generator = keyed(self.seed, "strong augmentation", step)
        moved = draw_weak(self.batch, self.weak, generator)
        return [self.sampler(step), weak, moved, *self.strong.draw(self.batch, generator)]

    def make(self, draws: Sequence[Tensor]) -> Unlabelled:
        """The batch of these draws, which are on the device; no host wait."""
        index, weak, moved, *distortions = draws
        images = self.images[index]
        strong = self.strong.distort(weak_view(images, moved), distortions)
        return Unlabelled(weak=to_float(weak_view(images, weak)), strong=strong, index=index)
