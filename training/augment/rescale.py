"""CTAugment's `rescale`: cut off a rim of c pixels and enlarge to the full side, as Pillow does.

Pillow resizes uint8 images along x and then along y; in each pass an output is the sum of inputs
times integer weights, rounded and clipped (Resample.c, 22 fractional bits). So every rim and filter
is one matrix of weights, which Pillow itself gives when it resizes single bright pixels.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

ONE = 1 << 22  # Pillow's unit of weight
FILTERS = (
    Image.Resampling.LANCZOS,
    Image.Resampling.BICUBIC,
    Image.Resampling.BILINEAR,
    Image.Resampling.BOX,
    Image.Resampling.HAMMING,
    Image.Resampling.NEAREST,
)


def weight_matrices(side: int) -> Tensor:
    """(6 * rims, side, side) float64 integers: row `filter * rims + rim`, then output, input.

    Rims are 0..(side + 2) // 4 pixels: a quarter of the side is the most that is cut off.
    """
    rims = range((side + 2) // 4 + 1)
    return torch.stack([_weights(side, rim, chosen) for chosen in FILTERS for rim in rims])


def resize(images: Tensor, weights: Tensor) -> Tensor:
    """(G, 3, P) uint8, by (G, side, side) matrices along x and then along y -> (G, 3, P) uint8."""
    grid = images.view(*images.shape[:2], *weights.shape[1:]).double()
    matrices = weights[:, None]
    wide = _rounded(grid @ matrices.transpose(2, 3))
    return _rounded(matrices @ wide).to(torch.uint8).flatten(2)


def _rounded(sums: Tensor) -> Tensor:
    return ((sums + ONE // 2) / ONE).floor().clamp_(0, 255)  # integers below 2^53: exact


def _weights(side: int, rim: int, resampling: Image.Resampling) -> Tensor:
    """(side, side) float64: output, input; 0 for inputs on the rim."""
    inner = side - 2 * rim
    single = Image.fromarray(ONE * np.eye(inner, dtype=np.int32))  # row i: only pixel i is bright
    weights = np.asarray(single.resize((side, inner), resampling)).astype(np.float64)
    return torch.from_numpy(np.pad(weights, ((rim, rim), (0, 0))).T.copy())
