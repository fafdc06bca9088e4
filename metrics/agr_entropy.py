"""`agr-entropy`: negative generalised Jensen-Shannon divergence of networks that held an image out.

Entropy of the mean prediction minus the mean entropy of the predictions (Lin 1991, "Divergence
measures based on the Shannon entropy", section V): one pass where `agr`, the mean over pairs,
takes R (R - 1) / 2. For two networks the two are equal; for more they rank differently.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from fmsel.errors import OptionError
from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.crossfit import Crossfit

NEEDS = ("crossfit",)
LABEL_USE = "training"
MIN_NETWORKS = 2


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [-ln R, 0], in nats; 0 = all networks agree.

    Raises:
        OptionError: fewer than two networks held the image out.
    """
    predictions = evidence.get(Crossfit).heldout.astype(np.float64)  # (R, N, C)
    if len(predictions) < MIN_NETWORKS:
        raise OptionError(
            f"agr-entropy needs {MIN_NETWORKS} networks that held an image out, got "
            f"{len(predictions)}; use more repetitions"
        )
    spread = _entropy(predictions.mean(axis=0)) - _entropy(predictions).mean(axis=0)
    return np.asarray(-np.maximum(spread, 0.0))


def _entropy(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(entr(p).sum(axis=-1))
