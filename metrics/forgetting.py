"""`forgetting`: minus the number of times that an image was learned and then forgotten.

Toneva et al. 2019 (arXiv 1812.05159, section 3): a forgetting event is a presentation at which the
image is misclassified although it was classified correctly at the one before. Events are summed
over the runs; a run of E epochs that never classified the image correctly counts as E // 2 + 1
events, one more than any other can have. Short runs leave many ties, so within the same number of
events the image that was wrong at fewer presentations ranks as more prototypical (our addition).
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.long_run import LongRun

NEEDS = ("long_run",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,), minus events, minus half the share of wrong presentations; at most 0 (never wrong)."""
    correct = evidence.get(LongRun).margins > 0  # (R, E, N)
    events = forgetting_events(correct).sum(axis=0)
    return np.asarray(-(events + (~correct).mean(axis=(0, 1)) / 2))


def forgetting_events(correct: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(R, E, N), right at each presentation -> (R, N) events, E // 2 + 1 where never right."""
    events = (correct[:, :-1] & ~correct[:, 1:]).sum(axis=1)
    return np.asarray(np.where(correct.any(axis=1), events, correct.shape[1] // 2 + 1))
