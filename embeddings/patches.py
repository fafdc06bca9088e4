"""`patches`: fixed convolution features from random whitened patches; no training, no labels.

Coates, Ng and Lee 2011, "An analysis of single-layer networks in unsupervised feature learning":
contrast-normalised 6x6 patches, ZCA whitening, filters that are themselves random patches of the
data, a two-sided soft threshold, and average pooling over the four quadrants.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from fmsel.errors import DataError
from fmsel.seeds import torch_seed

VARIANCE_FLOOR = 10.0  # grey levels squared, added to a patch's variance (their section 3.1)
WHITENING_FLOOR = 0.1  # added to the eigenvalues (their section 4.2)
THRESHOLD = 0.25  # of the two-sided ReLU (their "triangle" successor, Coates and Ng 2011)
SAMPLED_PATCHES = 50_000
MIN_SIDE = 4  # pixels


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """Size of the encoder; the output has D = 8 * filters features."""

    filters: int = 384
    patch: int = 6  # pixels; a third of the side on images smaller than 18 pixels
    batch: int = 8  # images at a time: their responses stay in the processor's cache


def _silent(_: int) -> None:
    """Report no progress."""


def encode(
    images: npt.NDArray[np.uint8],
    config: PatchConfig | None = None,
    *,
    seed: int = 0,
    device: torch.device | None = None,
    advance: Callable[[int], None] = _silent,
) -> npt.NDArray[np.float32]:
    """Encode images.

    Args:
        images: (N, H, W, 3) uint8.
        config: size of the encoder.
        seed: of the choice of patches.
        device: where to compute; None = CPU.
        advance: told how many images were done.
    Returns:
        (N, 8 * filters) float32, non-negative.
    Raises:
        DataError: images below 4 pixels.
    """
    config = config or PatchConfig()
    device = device or torch.device("cpu")
    size = patch_size(config, images.shape[1])
    rng = torch.Generator().manual_seed(torch_seed(seed, "patches"))
    filters, offset = _filters(images, size, config.filters, rng)
    filters, offset = filters.to(device), offset.to(device)
    out = np.empty((len(images), 8 * config.filters), dtype=np.float32)
    for start in range(0, len(images), config.batch):
        chunk = torch.tensor(images[start : start + config.batch], device=device)
        features = _encode(chunk.permute(0, 3, 1, 2).float(), filters, offset, size)
        out[start : start + config.batch] = features.cpu().numpy()
        advance(len(chunk))
    return out


def patch_size(config: PatchConfig, side: int) -> int:
    """Side of a patch in images of `side` pixels; DataError if they are too small."""
    if side < MIN_SIDE:
        raise DataError(
            f"images of {side} pixels are too small for patch features; use at least {MIN_SIDE}"
        )
    return min(config.patch, max(2, side // 3))


def _filters(
    images: npt.NDArray[np.uint8], size: int, count: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(K, 3, p, p) filters that whiten and match in one, and the (K,) constants they subtract."""
    n, height, width, _ = images.shape
    draw = torch.randint(0, 2**31, (3, SAMPLED_PATCHES), generator=rng).numpy()
    which, top, left = draw[0] % n, draw[1] % (height - size + 1), draw[2] % (width - size + 1)
    steps = np.arange(size)
    rows, columns = (top[:, None] + steps)[:, :, None], (left[:, None] + steps)[:, None, :]
    cut = torch.tensor(images[which[:, None, None], rows, columns]).permute(0, 3, 1, 2)
    patches = cut.reshape(len(which), -1).double()
    patches -= patches.mean(dim=1, keepdim=True)
    patches /= (patches.var(dim=1, keepdim=True, correction=0) + VARIANCE_FLOOR).sqrt()
    centre = patches.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    whiten = vectors @ torch.diag((values.clamp(min=0) + WHITENING_FLOOR).rsqrt()) @ vectors.T
    chosen = F.normalize((patches[:count] - centre) @ whiten, dim=1) @ whiten
    return chosen.float().view(count, 3, size, size), (chosen @ centre).float()


def _encode(images: Tensor, filters: Tensor, offset: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) float in 0..255 -> (B, 8 K)."""
    # A patch is normalised by its own mean and deviation, which come from box filters. The filters
    # sum to zero, since whitened patches do, so the mean itself drops out of the response.
    grey = images.mean(dim=1, keepdim=True)
    mean = F.avg_pool2d(grey, size, stride=1)
    square = F.avg_pool2d(images.square().mean(dim=1, keepdim=True), size, stride=1)
    scale = (square - mean.square() + VARIANCE_FLOOR).rsqrt()
    response = F.conv2d(images, filters).mul_(scale).sub_(offset[:, None, None])
    positive = F.adaptive_avg_pool2d((response - THRESHOLD).relu_(), 2)
    negative = F.adaptive_avg_pool2d(response.neg_().sub_(THRESHOLD).relu_(), 2)
    return torch.cat([positive, negative], dim=1).flatten(1)
