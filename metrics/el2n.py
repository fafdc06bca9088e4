"""`el2n`: negative norm of the error (softmax minus one-hot label), early in training.

Paul, Ganguli and Dziugaite 2021 (arXiv 2107.07075, section 2), mean over ten short runs.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.early import Early

NEEDS = ("early",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [-sqrt 2, 0]."""
    return np.asarray(-evidence.get(Early).errors.mean(axis=0))
