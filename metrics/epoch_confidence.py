"""`epoch-confidence`: probability of the given label while training on the image, over the epochs.

How early an image is learned (Jiang et al. 2021, arXiv 2002.03206, section 5: statistics of
learning). A by-product of training the ensemble: no pass over the data is made for it.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.crossfit import Crossfit

NEEDS = ("crossfit",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [0, 1]."""
    return np.asarray(evidence.get(Crossfit).training_mean.mean(axis=0))
