"""`ctaugment`: augmentation whose strength follows what the network can see through.

Berthelot et al. 2020 (ReMixMatch, section 3.2.2) as FixMatch's reference code has it
(google-research/fixmatch, libml/ctaugment.py and cta/lib/train.py: depth 2, decay 0.99, threshold
0.80). Two of 19 operations, then a cutout of half the side, RGB 127. The range of each parameter is
cut into bins, and a bin's rate says how well the averaged network still recognises labelled images
that were distorted by it. Only bins with nearly the best rate are used.

As in the reference, `translate_x` and `translate_y` change nothing; see `augment.ctaugment`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fmsel.training.augment.ctaugment import BINS, OPS, Operations
from fmsel.training.augment.strong import Probe
from fmsel.training.augment.weak import to_float

DEPTH, DECAY, THRESHOLD = 2, 0.99, 0.80
MOST_BINS = 17
TINY = 1e-9  # keeps 0 / 0 away from parameters that do not exist


class Draws(NamedTuple):
    """The chance in what happens to each of B images, on any device.

    Attributes:
        ops: (B, 2) int64, positions in `OPS`.
        within: (B, 2, 2) float64 in [0, 1): where in its bin each parameter lies; of a probe, where
            in its whole range.
        quantile: (B, 2, 2) float64 in [0, 1): which bin, by the rates; not for probes.
        centres: (B, 3, 2) int64: row and column of cutouts, the last one's that always follows.
    """

    ops: Tensor
    within: Tensor
    quantile: Tensor
    centres: Tensor


def draw(count: int, side: int, generator: torch.Generator) -> Draws:
    """Draw for `count` images from a CPU generator."""

    def uniform() -> Tensor:
        return torch.rand(count, DEPTH, 2, dtype=torch.float64, generator=generator)

    ops = torch.randint(0, len(OPS), (count, DEPTH), generator=generator)
    centres = torch.randint(0, side, (count, DEPTH + 1, 2), generator=generator)
    return Draws(ops, uniform(), uniform(), centres)


class CTAugment:
    """CTAugment for square images of one side.

    Args:
        side: H = W in pixels.
        device: where the rates lie and the images will.

    Attributes:
        rates: (19, 2, 17) float32 on the device, of every operation, parameter and bin; 1 at first.
        bins: (19, 2) int64 on the device, 0 where there is no such parameter.
    """

    def __init__(self, side: int, device: torch.device) -> None:
        self.side, self.device = side, device
        self.operations = Operations(side, device)
        rows = [[*bins, 0, 0][:2] for bins in BINS.values()]
        self.bins = torch.tensor(rows, device=device)
        self.exists = torch.arange(MOST_BINS, device=device) < self.bins[..., None]
        self.rates = torch.ones(len(OPS), 2, MOST_BINS, device=device)

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """Draw for `count` images; see `StrongAugment`."""
        return draw(count, self.side, generator)

    def distort(self, images: Tensor, draws: Sequence[Tensor]) -> Tensor:
        """Two operations in bins drawn by their rates, and a cutout; see `StrongAugment`."""
        drawn = Draws(*draws)
        changed = self.operations(
            images.flatten(2), drawn.ops, self.levels(drawn), drawn.centres[:, :DEPTH]
        )
        changed = self.operations.cut_out(changed, drawn.centres[:, DEPTH])
        return to_float(changed).view_as(images)

    def probe(self, images: Tensor, draws: Sequence[Tensor]) -> Probe:
        """Two operations with parameters uniform in their ranges, no cutout after them.

        The record is (B, 2, 2) int64: the place in `rates`, flattened, of the bin each parameter
        fell into, and -1 where the operation has no such parameter.
        """
        ops, levels, _, centres = Draws(*draws)
        bins = self.bins[ops]  # (B, 2, 2)
        chosen = (levels * bins * 0.999).long()
        first = (ops[..., None] * 2 + torch.arange(2, device=self.device)) * MOST_BINS
        record = torch.where(bins > 0, first + chosen, -1)
        return Probe(images=self._operate(images, ops, levels, centres), record=record)

    def learn(self, probe: Probe, probabilities: Tensor, labels: Tensor) -> None:
        """Move the rate of every bin by 1 % towards each of its probes, one after the other.

        rate = 0.99 rate + 0.01 proximity, proximity = 1 - |softmax - one-hot|_1 / 2, which is the
        probability of the right class. Nothing is scattered, so that every repetition is the same.
        """
        proximity = probabilities.double().gather(1, labels[:, None])
        cells = probe.record.flatten()  # (E,), in the order in which the reference goes
        hits = (cells[:, None] == torch.arange(self.rates.numel(), device=self.device)).long()
        later = hits.flip(0).cumsum(0).flip(0) - hits  # probes of the same bin still to come
        values = proximity.expand(-1, probe.record[0].numel()).flatten()
        pulls = (1 - DECAY) * (values[:, None] * hits * DECAY**later).sum(0)
        updated = self.rates.double().flatten() * DECAY ** hits.sum(0) + pulls
        self.rates.copy_(updated.view_as(self.rates))

    def bin_probabilities(self) -> Tensor:
        """(19, 2, 17) float64: the chance of every bin; 0 where there is no such parameter.

        It grows with rate + 0.01 and is 0 where that is less than 0.80 of the parameter's best.
        """
        weights = (self.rates + (1 - DECAY)) * self.exists
        weights = weights / weights.amax(-1, keepdim=True).clamp_min(TINY)
        weights = weights.where(weights >= THRESHOLD, 0).double()
        return weights / weights.sum(-1, keepdim=True).clamp_min(TINY)

    def levels(self, draws: Draws) -> Tensor:
        """(B, 2, 2) float64 in [0, 1): (bin + within) / bins of each parameter.

        Bins are drawn by the inverse of their cumulative distribution. Where an operation has no
        such parameter, the level is 0.
        """
        so_far = torch.ones(MOST_BINS, MOST_BINS, dtype=torch.bool, device=self.device).tril()
        cumulative = (self.bin_probabilities()[..., None, :] * so_far).sum(-1)
        cumulative = cumulative / cumulative[..., -1:].clamp_min(TINY)  # ends at exactly 1
        chosen = (cumulative[draws.ops] <= draws.quantile[..., None]).sum(-1)
        bins = self.bins[draws.ops]
        return torch.where(bins > 0, (chosen + draws.within) / bins.clamp_min(1), 0)

    def _operate(self, images: Tensor, ops: Tensor, levels: Tensor, centres: Tensor) -> Tensor:
        return to_float(self.operations(images.flatten(2), ops, levels, centres)).view_as(images)

    def state_dict(self) -> dict[str, Tensor]:
        return {"rates": self.rates}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.rates.copy_(state["rates"])


def make(side: int, device: torch.device) -> CTAugment:
    return CTAugment(side, device)
