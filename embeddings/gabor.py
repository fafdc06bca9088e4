"""`gabor`: convolution features of random Gabor filters; nothing in them is fitted to the images.

Gabor filters (Gabor 1946; Daugman 1985, a model of the visual cortex) of random place,
orientation, wavelength, phase and colour take the part that random patches play in `patches`:
contrast-normalised windows, a two-sided soft threshold, average pooling over the four quadrants.
Each image is then normalised by itself alone (square root, group norm, unit length). So the
features of one image do not depend on any other image, which is what private training needs:
Tramèr and Boneh 2021 (arXiv 2011.11660) use scattering features for the same reason.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from fmsel.errors import DataError
from fmsel.seeds import torch_seed

FILTERS = 128
WIDTH = 8 * FILTERS  # features: two signs, four quadrants
SIDE = 6  # pixels of a filter; less on images below 12 pixels
SHORTEST_WAVE = 2.5  # pixels; the longest is the filter's side
THRESHOLD = 0.5  # of the two-sided ReLU
VARIANCE_FLOOR = 10.0  # grey levels squared, as in `patches`
BATCH = 8  # images at a time: their responses stay in the processor's cache
MIN_SIDE = 4  # pixels


def _silent(_: int) -> None:
    """Report no progress."""


def encode(
    images: npt.NDArray[np.uint8],
    *,
    seed: int = 0,
    device: torch.device | None = None,
    advance: Callable[[int], None] = _silent,
) -> npt.NDArray[np.float32]:
    """Encode images, each by itself.

    Args:
        images: (N, H, W, 3) uint8.
        seed: of the filters.
        device: where to compute; None = CPU.
        advance: told how many images were done.
    Returns:
        (N, 1024) float32; rows of unit length, or of zeros for an image of one colour.
    Raises:
        DataError: images below 4 pixels.
    """
    device = device or torch.device("cpu")
    rng = torch.Generator().manual_seed(torch_seed(seed, "gabor"))
    filters = gabor_filters(FILTERS, filter_side(images.shape[1]), rng).to(device)
    out = np.empty((len(images), WIDTH), dtype=np.float32)
    for start in range(0, len(images), BATCH):
        chunk = torch.tensor(images[start : start + BATCH], device=device)
        features = _encode(chunk.permute(0, 3, 1, 2).float(), filters)
        out[start : start + BATCH] = features.cpu().numpy()
        advance(len(chunk))
    return out


def filter_side(side: int) -> int:
    """Side of the filters for images of `side` pixels; DataError if they are too small."""
    if side < MIN_SIDE:
        raise DataError(
            f"images of {side} pixels are too small for Gabor features; use at least {MIN_SIDE}"
        )
    return min(SIDE, max(3, side // 2))


def gabor_filters(count: int, side: int, rng: torch.Generator) -> Tensor:
    """(K, 3, s, s) float32 filters with zero sum and unit norm; half of them are grey."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=rng, dtype=torch.float64)

    angle, phase = math.pi * uniform(1, 1), 2 * math.pi * uniform(1, 1)
    wave = SHORTEST_WAVE * (max(side, SHORTEST_WAVE) / SHORTEST_WAVE) ** uniform(1, 1)
    spread = (0.3 + 0.5 * uniform(1, 1)) * wave  # deviation of the envelope
    centre = side * uniform(2, 1, 1)
    places = torch.arange(side, dtype=torch.float64) + 0.5
    down, right = places[:, None] - centre[:, 0], places - centre[:, 1]  # (K, s, 1), (K, 1, s)
    along = right * angle.cos() + down * angle.sin()
    envelope = torch.exp(-(right**2 + down**2) / (2 * spread**2))
    grey = envelope * torch.cos(2 * math.pi * along / wave + phase)
    colour = torch.randn(count, 3, generator=rng, dtype=torch.float64)
    colour[::2] = 1.0
    filters = (colour[:, :, None, None] * grey[:, None]).flatten(1)
    filters = F.normalize(filters - filters.mean(dim=1, keepdim=True), dim=1)
    return filters.float().view(count, 3, side, side)


def _encode(images: Tensor, filters: Tensor) -> Tensor:
    """(B, 3, H, W) float in 0..255 -> (B, 8 K)."""
    # A window is divided by its own deviation; its mean drops out, as the filters sum to zero.
    side = filters.shape[-1]
    mean = F.avg_pool2d(images.mean(dim=1, keepdim=True), side, stride=1)
    square = F.avg_pool2d(images.square().mean(dim=1, keepdim=True), side, stride=1)
    scale = (square - mean.square() + VARIANCE_FLOOR).rsqrt()
    response = F.conv2d(images, filters).mul_(scale)
    positive = F.adaptive_avg_pool2d((response - THRESHOLD).relu_(), 2)
    negative = F.adaptive_avg_pool2d(response.neg_().sub_(THRESHOLD).relu_(), 2)
    roots = torch.cat([positive, negative], dim=1).sqrt_()
    return F.normalize(F.group_norm(roots, 1).flatten(1), dim=1)
