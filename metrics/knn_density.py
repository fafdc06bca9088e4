"""`knn-density`: negative mean distance to the 20 nearest other images, by direction; no labels.

Ranks as the typicality of Hacohen, Dekel and Weinshall 2022 (arXiv 2202.02794, section 3, with
K = 20), which is the inverse of that mean; without the inverse, copies of an image stay finite.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.embedding import Embedding

NEEDS = ("embedding",)
LABEL_USE = "none"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [-2, 0]; 0 = the 20 nearest are copies."""
    return np.asarray(-evidence.get(Embedding).distances.mean(axis=1))
