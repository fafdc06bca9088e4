"""`grand`: negative norm of the gradient of the image's loss, early in training.

Paul, Ganguli and Dziugaite 2021 (arXiv 2107.07075, section 2), mean over ten short runs; over
all parameters, and not at initialisation but after some epochs.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.early import Early

NEEDS = ("early",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,), at most 0."""
    return np.asarray(-evidence.get(Early).gradients.mean(axis=0))
