"""Typicality: how near the nearest neighbours of a point are, among the points given."""

import numpy as np
import numpy.typing as npt

from fmsel.embeddings.vectors.neighbours import nearest_neighbours

FloatArray = npt.NDArray[np.float32]

NEIGHBOURS = 20  # Hacohen et al., ICML 2022
SMALLEST = 1e-5  # added to the mean distance, as in the authors' code: equal points are finite


def typicality(points: FloatArray) -> npt.NDArray[np.float64]:
    """1 / the mean Euclidean distance to the nearest others: Hacohen et al., ICML 2022, section 3.

    Counted are the 20 nearest, or half of the points where they are fewer than 40. Equal points are
    equally typical.

    Args:
        points: (n, D), such as those of one cluster.
    Returns:
        (n,) above 0 and at most 1e5; 0 for a point alone.
    """
    if len(points) < 2:
        return np.zeros(len(points))
    found = nearest_neighbours(points, max(1, min(NEIGHBOURS, len(points) // 2)))
    return np.asarray(1 / (found.distances.mean(axis=1, dtype=np.float64) + SMALLEST))
