"""`ret`: how little a network's prediction changes when it trains on without the image.

Carlini, Erlingsson and Papernot 2019 (arXiv 1910.13427), metric "ret": the negative symmetric
divergence between the predictions before and after further training on a disjoint part. A network
that relied on the image itself forgets it; one that learned it from others like it does not. Reads
no label of the image, and never a test image.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.retraining import Retraining

NEEDS = ("retraining",)
LABEL_USE = "training"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in (-inf, 0], in nats: -(KL(p || q) + KL(q || p)) / 2, mean over the repetitions."""
    part = evidence.get(Retraining)
    before, after = part.before.astype(np.float64), part.after.astype(np.float64)  # (R, N, C)
    # The two divergences in one sum whose terms are never negative, so nothing cancels.
    terms = (np.exp(before) - np.exp(after)) * (before - after)
    return np.asarray(-terms.sum(axis=2).mean(axis=0) / 2)
