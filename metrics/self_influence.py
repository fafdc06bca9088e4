"""`self-influence`: negative drop of an image's own loss by the training steps on it.

TracInCP of Pruthi et al. 2020 (arXiv 2002.08484) of an image on itself: the sum over
checkpoints of the learning rate times the squared norm of its gradient; mean over runs.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.influence import Influence

NEEDS = ("influence",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,), at most 0."""
    part = evidence.get(Influence)
    squares = part.gradients.astype(np.float64) ** 2  # (K, N)
    return np.asarray(-(part.rates @ squares) / part.runs)
