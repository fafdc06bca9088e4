"""How far one direction covers another: kernels in 0..1 that rise with the cosine of the two."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fmsel.errors import OptionError
from fmsel.selection.geometry.vectors import blocks, unit

FloatArray = npt.NDArray[np.float32]
ROUNDING = 1e-6  # how exactly cosines are known, and the least improvement that counts
EXACT = 1e-9  # how exactly they are known where they were computed again in float64

# Bandwidths between vectors of length 1 that float32 can tell from 0 and from infinity.
NARROWEST, WIDEST = 1e-3, 1e3


def check_bandwidth(sigma: float) -> None:
    """OptionError where no kernel of this bandwidth can be computed."""
    if not NARROWEST <= sigma <= WIDEST:
        raise OptionError(f"sigma must be in {NARROWEST:g}..{WIDEST:g}, got {sigma:g}")


class Kernel(Protocol):
    """A rising function of the cosine."""

    @property
    def steepness(self) -> float:
        """By which share of itself, about, it rises with the cosine; 0 = only at `edge`."""

    @property
    def edge(self) -> float | None:
        """The cosine at which it jumps; None = at none."""

    def values(self, cosines: FloatArray) -> FloatArray:
        """The kernel, in 0..1, at cosines in -1..1."""

    def threshold(self, cover: FloatArray) -> FloatArray:
        """The cosines above which the kernel exceeds `cover`, itself at least 0."""


@dataclass(frozen=True)
class Step:
    """1 where the distance of two unit vectors is below `delta`, else 0."""

    delta: float

    @property
    def steepness(self) -> float:
        return 0.0

    @property
    def edge(self) -> float:
        return 1 - self.delta**2 / 2

    def values(self, cosines: FloatArray) -> FloatArray:
        return (cosines > self.edge).astype(np.float32)

    def threshold(self, cover: FloatArray) -> FloatArray:
        return np.where(cover > 0.5, np.inf, self.edge).astype(np.float32)


@dataclass(frozen=True)
class Gaussian:
    """exp(-(distance of the unit vectors / sigma)^2): without the 2 of the normal density."""

    sigma: float

    @property
    def steepness(self) -> float:
        return 2 / self.sigma**2

    @property
    def edge(self) -> None:
        return None

    def values(self, cosines: FloatArray) -> FloatArray:
        return np.asarray(np.exp((cosines - 1) * np.float32(2 / self.sigma**2)))

    def threshold(self, cover: FloatArray) -> FloatArray:
        level = 1 + self.sigma**2 / 2 * np.log(np.maximum(cover, ROUNDING))
        return np.asarray(level, dtype=np.float32)


@dataclass(frozen=True)
class ShiftedCosine:
    """0.5 + 0.5 cosine."""

    @property
    def steepness(self) -> float:
        return 1.0  # at right angles

    @property
    def edge(self) -> None:
        return None

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


def cosines(a: FloatArray, b: FloatArray, edge: float | None = None) -> FloatArray:
    """(A, B) cosines of directions (A, D) and (B, D), on the right side of a kernel's edge.

    A matrix product rounds differently with the number of threads and the place in the matrix.
    Those that rounding might move over the edge are computed again, and then lie well beside it;
    at the edge itself is outside.
    """
    found = snap(a @ b.T)
    if edge is None:
        return found
    close: npt.NDArray[np.bool_] = found > edge - ROUNDING
    close &= found < min(edge + ROUNDING, 1)
    rows, columns = np.unravel_index(np.flatnonzero(close), found.shape)
    for part in blocks(len(rows), 6 * a.shape[1]):
        i, j = rows[part], columns[part]
        exact = np.einsum("ij,ij->i", a[i].astype(np.float64), b[j].astype(np.float64))
        inside = exact > edge + EXACT
        found[i, j] = np.where(inside, edge + 2 * ROUNDING, edge - 2 * ROUNDING)
    return found
