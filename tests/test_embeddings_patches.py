"""The patch encoder against itself written patch by patch."""

import numpy as np
import pytest
import torch

from fmsel.embeddings import patches
from fmsel.embeddings.patches import PatchConfig, encode
from fmsel.errors import DataError
from fmsel.seeds import torch_seed


def by_loop(images: np.ndarray, count: int, size: int, seed: int) -> np.ndarray:
    """Normalise, filter and pool every patch in turn (Coates, Ng and Lee 2011, section 3)."""
    rng = torch.Generator().manual_seed(torch_seed(seed, "patches"))
    filters, offset = (t.numpy() for t in patches._filters(images, size, count, rng))
    places = images.shape[1] - size + 1
    out = np.zeros((len(images), 2, count, places, places))
    for n, y, x in np.ndindex(len(images), places, places):
        patch = images[n, y : y + size, x : x + size].transpose(2, 0, 1).astype(np.float64)
        patch = (patch - patch.mean()) / np.sqrt(patch.var() + 10)
        response = (filters * patch).sum(axis=(1, 2, 3)) - offset
        out[n, 0, :, y, x] = np.maximum(response - 0.25, 0)
        out[n, 1, :, y, x] = np.maximum(-response - 0.25, 0)
    half = -(-places // 2)
    ends = (slice(0, half), slice(places - half, places))
    pooled = [out[..., a, b].mean(axis=(-2, -1)) for a in ends for b in ends]
    return np.stack(pooled, axis=-1).reshape(len(images), -1)


@pytest.mark.parametrize(("side", "size"), [(12, 4), (20, 6), (8, 2)])
def test_equals_patch_by_patch(side: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (5, side, side, 3), dtype=np.uint8)
    features = encode(images, PatchConfig(filters=7, batch=2), seed=seed)
    assert features.shape == (5, 56) and features.dtype == np.float32
    np.testing.assert_allclose(features, by_loop(images, 7, size, seed), atol=1e-4)


def test_brightness_and_contrast_hardly_matter() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (4, 12, 12, 3), dtype=np.uint8)
    other = (images * 2 + 40).astype(np.uint8)
    config = PatchConfig(filters=16)
    first = encode(np.concatenate([images, other]), config)
    np.testing.assert_allclose(first[:4], first[4:], rtol=0.1, atol=0.05)


def test_tiny_images_are_refused() -> None:
    with pytest.raises(DataError, match="images of 3 pixels are too small"):
        encode(np.zeros((2, 3, 3, 3), np.uint8))
