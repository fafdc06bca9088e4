"""Random views of images: crop and resize, flip, colour jitter, greyscale; all on the device.

Chen et al. 2020 (SimCLR, arXiv 2002.05709), appendix A, without the blur, which they leave out on
CIFAR-10 (appendix B.9). The random numbers of a view are keyed by (seed, step, which of the two
views, place in the batch), so that they do not depend on the other images nor on a resumption.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fmsel.embeddings.contrastive import colour
from fmsel.seeds import generator, torch_seed

TRIES = 10  # at a crop that fits, as torchvision's RandomResizedCrop; then the whole image


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """How far views go: TypiClust's (scan/configs/pretext/simclr_cifar10.yml).

    These are the paper's for CIFAR-10 (jitter of strength 0.5, appendix B.9), but for the scale,
    which goes down to 0.08 there.
    """

    flip: bool = True  # mirror with probability 0.5
    scale: tuple[float, float] = (0.2, 1.0)  # share of the image's area that a crop covers
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width by height of a crop
    jitter: float = 0.8  # probability of colour jitter
    brightness: float = 0.4  # factors are uniform in 1 - this .. 1 + this
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1  # the shift is uniform in -this .. this
    grey: float = 0.2  # probability of greyscale


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What happens to each of V images.

    Attributes:
        box: (V, 4) int64, top, left, height and width of the crop, in pixels.
        flip, grey: (V,) bool.
        factors: (V, 4) float32 of `colour.JITTER`; neutral where there is no jitter.
        order: of the four, the same for all images of a batch.
    """

    box: Tensor
    flip: Tensor
    grey: Tensor
    factors: Tensor
    order: tuple[int, ...]

    def to(self, device: torch.device) -> "Draws":
        """The same draws on another device."""
        return Draws(
            box=self.box.to(device, non_blocking=True),
            flip=self.flip.to(device, non_blocking=True),
            grey=self.grey.to(device, non_blocking=True),
            factors=self.factors.to(device, non_blocking=True),
            order=self.order,
        )


def draw(
    config: ViewConfig, count: int, height: int, width: int, *, seed: int, step: int, view: int
) -> Draws:
    """The draws of one view of `count` images of height x width pixels, on the CPU."""
    rng = torch.Generator().manual_seed(torch_seed(seed, "simclr views", step, view))
    # One row an image: a longer batch does not change the numbers of its first images.
    uniform = torch.rand(count, 2 * TRIES + 9, generator=rng, dtype=torch.float64)
    tries = uniform[:, : 2 * TRIES].reshape(count, TRIES, 2)
    down, right, flip, grey, jitter, *_ = uniform[:, 2 * TRIES :].T
    amounts = uniform[:, -4:].float()
    reach = torch.tensor([config.brightness, config.contrast, config.saturation, config.hue])
    neutral = torch.tensor(colour.NEUTRAL)
    factors = neutral + reach * (2 * amounts - 1)
    return Draws(
        box=_boxes(config, tries, down, right, height, width),
        flip=(flip < 0.5) & config.flip,
        grey=grey < config.grey,
        factors=torch.where((jitter < config.jitter)[:, None], factors, neutral),
        order=tuple(generator(seed, "simclr jitter order", step, view).permutation(4).tolist()),
    )


def augment(images: Tensor, draws: Draws) -> Tensor:
    """Apply draws.

    Args:
        images: (V, 3, H, W) uint8.
        draws: on the same device.
    Returns:
        (V, 3, H, W) float32 in [-1, 1].
    """
    views = crop_and_resize(images, draws.box, draws.flip)
    for k in draws.order:
        views = colour.JITTER[k](views, draws.factors[:, k])
    views = torch.where(draws.grey[:, None, None, None], colour.grey(views), views)
    return views.mul_(2).sub_(1)


def crop_and_resize(images: Tensor, box: Tensor, flip: Tensor) -> Tensor:
    """Crop, enlarge to the images' own size (bilinear), perhaps mirror; float32 in [0, 1]."""
    height, width = images.shape[2:]
    top, left, tall, wide = box.unbind(1)
    rows = _weights(top, tall, height)
    columns = _weights(left, wide, width)
    columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    pixels = images.float().div_(255)
    return rows[:, None] @ pixels @ columns.transpose(1, 2)[:, None]


def _weights(start: Tensor, length: Tensor, side: int) -> Tensor:
    """(V, side, side) float32, output, input: bilinear weights that never leave the crop."""
    axis = torch.arange(side, device=start.device)
    source = (axis + 0.5) * (length[:, None] / side) - 0.5
    source = source.clamp_min(0).minimum(length[:, None] - 1) + start[:, None]
    return (1 - (source[:, :, None] - axis).abs()).clamp_min_(0)


def _boxes(
    config: ViewConfig, tries: Tensor, down: Tensor, right: Tensor, height: int, width: int
) -> Tensor:
    """(V, 4) int64 crops: the first of each image's tries that fits, else the whole image."""
    low, high = config.scale
    area = height * width * (low + (high - low) * tries[..., 0])  # (V, TRIES)
    narrow, broad = (math.log(each) for each in config.ratio)
    ratio = (narrow + (broad - narrow) * tries[..., 1]).exp()
    wide, tall = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
    first = fits.int().argmax(dim=1, keepdim=True)
    some = fits.any(dim=1)
    wide = torch.where(some, wide.gather(1, first)[:, 0], width)
    tall = torch.where(some, tall.gather(1, first)[:, 0], height)
    top, left = (down * (height - tall + 1)).long(), (right * (width - wide + 1)).long()
    return torch.stack([top, left, tall, wide], dim=1)
