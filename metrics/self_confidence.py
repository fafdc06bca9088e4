"""`self-confidence`: mean held-out probability of the given label.

The label-aware twin of `conf`; Northcutt, Jiang and Chuang 2021 (arXiv 1911.00068) call the
out-of-sample probability of the given label self-confidence. Averaged over held-out networks it
estimates the C-score (Jiang et al. 2021, arXiv 2002.03206, section 2) at one subset size.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.crossfit import Crossfit

NEEDS = ("crossfit",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [0, 1]."""
    mean = evidence.get(Crossfit).heldout.mean(axis=0)  # (N, C)
    return np.asarray(mean[np.arange(len(mean)), evidence.labels])
