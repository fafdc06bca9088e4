"""`leave-one-out`: how well an image's label follows from all other images, in closed form.

Ridge regression to one-hot targets on fixed random-patch features (Coates, Ng and Lee 2011), and
the exact leave-one-out prediction of the given label; no network is trained.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.patch_regression import PatchRegression

NEEDS = ("patch_regression",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) margin: prediction of the given label minus the best of the others."""
    predictions = evidence.get(PatchRegression).predictions  # (N, C)
    rows = np.arange(len(predictions))
    others = predictions.copy()
    others[rows, evidence.labels] = -np.inf
    return np.asarray(predictions[rows, evidence.labels] - others.max(axis=1))
