"""`conf`: mean top probability of networks that held the image out; reads no label of the image.

Carlini, Erlingsson and Papernot 2019 (arXiv 1910.13427), metric "conf". The ensemble trains with
smoothed labels, so its probabilities do not saturate at 1 and tie.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.crossfit import Crossfit

NEEDS = ("crossfit",)
LABEL_USE = "training"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [1/C, 1]."""
    return np.asarray(evidence.get(Crossfit).heldout.max(axis=2).mean(axis=0))
