"""`agr`: negative mean pairwise Jensen-Shannon divergence of networks that held the image out.

Carlini, Erlingsson and Papernot 2019 (arXiv 1910.13427), metric "agr"; reads no label of the image.
"""

from itertools import combinations

import numpy as np
import numpy.typing as npt

from fmsel.errors import OptionError
from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.crossfit import Crossfit

NEEDS = ("crossfit",)
LABEL_USE = "training"
MIN_NETWORKS = 3


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [-ln 2, 0], in nats; 0 = all networks agree.

    Raises:
        OptionError: fewer than three networks held the image out.
    """
    predictions = evidence.get(Crossfit).heldout  # (R, N, C)
    if len(predictions) < MIN_NETWORKS:
        raise OptionError(
            f"agr needs {MIN_NETWORKS} networks that held an image out, got {len(predictions)}; "
            "use more repetitions"
        )
    pairs = list(combinations(predictions.astype(np.float64), 2))
    total = np.sum([jensen_shannon(p, q) for p, q in pairs], axis=0)
    return np.asarray(-total / len(pairs))


def jensen_shannon(
    p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Jensen-Shannon divergence of the rows of two (N, C) arrays of probabilities, in nats."""
    return np.maximum(_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2, 0.0)


def _entropy(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    return np.asarray(-(p * logs).sum(axis=-1))
