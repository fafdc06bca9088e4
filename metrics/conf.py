"""`conf`: mean top probability of networks that held the image out; reads no label of the image.

Carlini, Erlingsson and Papernot 2019 (arXiv 1910.13427), metric "conf". Softmax is averaged over
the epochs first, since after the last epoch many images saturate near 1 and tie.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.crossfit import Crossfit

NEEDS = ("crossfit",)
LABEL_USE = "training"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [1/C, 1]."""
    return np.asarray(evidence.get(Crossfit).heldout_mean.max(axis=2).mean(axis=0))
