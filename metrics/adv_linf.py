"""`adv-linf`: `adv` in Linf, the largest change of any pixel and channel.

Carlini, Erlingsson and Papernot 2019 (arXiv 1910.13427), metric "adv"; signed as `adv` is.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.adversarial_linf import AdversarialLinf

NEEDS = ("adversarial_linf",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in units of the [0, 1] pixel range."""
    return np.asarray(evidence.get(AdversarialLinf).distances.mean(axis=0))
