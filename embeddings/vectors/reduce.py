"""Fewer dimensions and unit length: principal components, whitening, L2 normalisation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.errors import DataError, OptionError
from fmsel.seeds import generator

FloatArray = npt.NDArray[np.float32]
VARIANCE_FLOOR = 1e-6  # of the first component's: below it whitening would blow up rounding errors


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """What is done to vectors before they are kept.

    Attributes:
        pca: number of principal components, or None to keep the features as they are.
        normalise: scale every vector to length 1, after the PCA.
    """

    pca: int | None = None
    normalise: bool = False

    def check(self, count: int, width: int) -> None:
        """Raises OptionError where `count` vectors of `width` features have no such components."""
        most = min(count, width)
        if self.pca is not None and not 1 <= self.pca <= most:
            raise OptionError(
                f"--pca must be in 1..{most} for {count} vectors of {width} features, "
                f"got {self.pca}"
            )

    def apply(self, features: FloatArray, seed: int) -> tuple[FloatArray, dict[str, Any]]:
        """(N, D) float32 to (N, pca or D) float32, and the parameters for the record.

        Raises:
            OptionError: as `check`.
            DataError: a vector of zeros has no direction.
        """
        self.check(*features.shape)
        record: dict[str, Any] = {"normalised": self.normalise}
        if self.pca is not None:
            features, explained = principal_components(features, self.pca, seed)
            record |= {"pca": self.pca, "explained_variance": round(explained, 4)}
        if self.normalise:
            zero = np.flatnonzero(~features.any(axis=1))
            if zero.size:
                raise DataError(
                    f"row {zero[0]} of the vectors is all zeros ({zero.size} such rows), so it "
                    "has no direction to normalise; mend it or leave out --normalise"
                )
            features = unit_length(features)
        return features, record


def principal_components(features: FloatArray, count: int, seed: int) -> tuple[FloatArray, float]:
    """Project centred features on their first principal components (scikit-learn's `PCA`).

    Args:
        features: (N, D) float32, not all alike; left as it is.
        count: in [1, min(N, D)].
        seed: of the randomised solver, which large problems get.
    Returns:
        (N, count) float32, and the share of the variance that they hold.
    """
    from sklearn.decomposition import PCA

    state = int(generator(seed, "principal components").integers(2**32))
    model = PCA(count, random_state=state)
    projected = np.ascontiguousarray(model.fit_transform(features), dtype=np.float32)
    return projected, float(model.explained_variance_ratio_.sum())


def whiten(components: FloatArray) -> FloatArray:
    """Scale (N, D) principal components to variance 1, those of next to none excepted."""
    variance = components.var(axis=0, dtype=np.float64)
    scale = np.sqrt(np.maximum(variance, VARIANCE_FLOOR * variance[0]))
    return np.asarray(components / scale, dtype=np.float32)


def unit_length(features: FloatArray) -> FloatArray:
    """Scale (N, D) vectors to length 1; a vector of zeros stays as it is."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(lengths > 0, lengths, 1), dtype=np.float32)
