"""`priv`: the strongest differential privacy at which models still classify the image correctly.

Carlini, Erlingsson and Papernot 2019 (arXiv 1910.13427), metric "priv": the smallest epsilon at
which an image is classified correctly by at least 90 % of the models, at it and at all larger
epsilons of the grid; equal images are ordered by the area under their accuracy curve.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.private import Private

NEEDS = ("private",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [0, G + 1] for a grid of G epsilons, as `levels_passed` counts."""
    private = evidence.get(Private)
    return levels_passed(private.right, private.models)


def levels_passed(right: npt.NDArray[np.int64], models: int) -> npt.NDArray[np.float64]:
    """How many levels of a disturbance an image passes, and a fraction that breaks ties.

    The whole part is the number of levels, counted from the mildest up to the first at which fewer
    than 90 % of the models are right. The area under the accuracy curve, the share of right models
    averaged over all levels, is added: it lies below 1 unless every level is passed, so it never
    outweighs a level.

    Args:
        right: (G, N), how many models classify each image correctly, from the mildest level to the
            harshest.
        models: number of models at each level.
    Returns:
        (N,) in [0, G + 1]; never falls when one more model is right.
    """
    passed = 10 * right >= 9 * models  # whole numbers: 9 of 10 is exactly 90 %
    levels = np.cumprod(passed, axis=0).sum(axis=0)
    return np.asarray(levels + right.mean(axis=0) / models)
