"""`adv`: L2 distance to the border of the label's region, mean over networks that held it out.

Carlini, Erlingsson and Papernot 2019 (arXiv 1910.13427), metric "adv": the smallest perturbation
that changes the prediction. Where a network does not give the image its label, the distance to the
nearest image that it does give that label counts as negative, so that there are no ties at 0.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.adversarial import AdversarialL2

NEEDS = ("adversarial",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in units of the [0, 1] pixel range."""
    return np.asarray(evidence.get(AdversarialL2).distances.mean(axis=0))
