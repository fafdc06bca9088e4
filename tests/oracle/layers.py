"""Layers in float64, each with its backward pass by hand; images are (N, H, W, C) as in TF."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Triple = tuple[Array, Array, Array]

PIXELS = (0, 1, 2)  # the axes that batch norm and biases share
EPSILON = 1e-3  # the default of tf.layers.batch_normalization
SLOPE = 0.1


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis for ceil(size / stride) outputs; an odd one comes after.

    tf.nn.conv2d, padding SAME: (0, 1) for a 3-tap kernel at stride 2 on an even size.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def conv(
    x: Array, kernel: Array, bias: Array, stride: int
) -> tuple[Array, Callable[[Array], Triple]]:
    """Cross-correlation with a (k, k, in, out) kernel; backward to the input, kernel and bias."""
    height, width = x.shape[1:3]
    rows, columns = (same_padding(size, len(kernel), stride) for size in (height, width))
    padded = np.pad(x, ((0, 0), rows, columns, (0, 0)))

    def taps() -> Iterator[tuple[tuple[int, int], tuple[slice, slice, slice]]]:
        """Each position in the kernel, and the pixels under it."""
        for i, j in np.ndindex(kernel.shape[:2]):
            down = slice(i, i + height - (height - 1) % stride, stride)
            right = slice(j, j + width - (width - 1) % stride, stride)
            yield (i, j), (slice(None), down, right)

    y = bias + sum(padded[under] @ kernel[tap] for tap, under in taps())

    def backward(g: Array) -> Triple:
        g_padded, g_kernel = np.zeros_like(padded), np.zeros_like(kernel)
        for tap, under in taps():
            g_padded[under] += g @ kernel[tap].T
            g_kernel[tap] = np.tensordot(padded[under], g, axes=(PIXELS, PIXELS))
        top, left = rows[0], columns[0]
        return g_padded[:, top : top + height, left : left + width], g_kernel, g.sum(axis=PIXELS)

    return y, backward


def standardise(x: Array) -> tuple[Array, Array, Array, Callable[[Array], Array]]:
    """Zero mean and unit variance in each channel; also the mean and the *biased* variance."""
    mean, variance = x.mean(axis=PIXELS), x.var(axis=PIXELS)
    scale = 1 / np.sqrt(variance + EPSILON)
    y = (x - mean) * scale

    def backward(g: Array) -> Array:
        # Each pixel also moves the mean and the variance of all the others.
        gradient: Array = scale * (g - g.mean(axis=PIXELS) - y * (g * y).mean(axis=PIXELS))
        return gradient

    return y, mean, variance, backward


def leaky_relu(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    factor = np.where(x > 0, 1.0, SLOPE)
    return x * factor, lambda g: g * factor
