"""How far one direction covers another: kernels in 0..1 that rise with the cosine of the two."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fmsel.errors import OptionError
from fmsel.selection.geometry.vectors import unit

FloatArray = npt.NDArray[np.float32]
ROUNDING = 1e-6  # how exactly cosines are known, and the least improvement that counts


# Bandwidths between vectors of length 1 that float32 can tell from 0 and from infinity.
NARROWEST, WIDEST = 1e-3, 1e3


def check_bandwidth(sigma: float) -> None:
    """OptionError where no kernel of this bandwidth can be computed."""
    if not NARROWEST <= sigma <= WIDEST:
        raise OptionError(f"sigma must be in {NARROWEST:g}..{WIDEST:g}, got {sigma:g}")


class Kernel(Protocol):
    """A rising function of the cosine."""

    def values(self, cosines: FloatArray) -> FloatArray:
        """The kernel, in 0..1, at cosines in -1..1."""

    def threshold(self, cover: FloatArray) -> FloatArray:
        """The cosines above which the kernel exceeds `cover`, itself at least 0."""


@dataclass(frozen=True)
class Step:
    """1 where the distance of two unit vectors is below `delta`, else 0."""

    delta: float

    def values(self, cosines: FloatArray) -> FloatArray:
        return (cosines > 1 - self.delta**2 / 2).astype(np.float32)

    def threshold(self, cover: FloatArray) -> FloatArray:
        return np.where(cover > 0.5, np.inf, 1 - self.delta**2 / 2).astype(np.float32)


@dataclass(frozen=True)
class Gaussian:
    """exp(-(distance of the unit vectors / sigma)^2): without the 2 of the normal density."""

    sigma: float

    def values(self, cosines: FloatArray) -> FloatArray:
        return np.asarray(np.exp((cosines - 1) * np.float32(2 / self.sigma**2)))

    def threshold(self, cover: FloatArray) -> FloatArray:
        level = 1 + self.sigma**2 / 2 * np.log(np.maximum(cover, ROUNDING))
        return np.asarray(level, dtype=np.float32)


@dataclass(frozen=True)
class ShiftedCosine:
    """0.5 + 0.5 cosine."""

    def values(self, cosines: FloatArray) -> FloatArray:
        return np.asarray((1 + cosines) / 2, dtype=np.float32)

    def threshold(self, cover: FloatArray) -> FloatArray:
        return np.asarray(2 * cover - 1, dtype=np.float32)


def directions(vectors: FloatArray) -> FloatArray:
    """(N, D) rows scaled to length 1, (N, D + 1) where some are zero.

    A row of zeros has no direction: it becomes one of its own, at right angles to all others.
    """
    rows = unit(vectors)
    zero = ~rows.any(axis=1)
    return np.column_stack([rows, zero.astype(np.float32)]) if zero.any() else rows


def snap(cosines: FloatArray) -> FloatArray:
    """Cosines in place, those of equal vectors exactly 1 in spite of rounding."""
    cosines[cosines > 1 - ROUNDING] = 1
    return cosines
