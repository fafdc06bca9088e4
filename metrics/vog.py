"""`vog`: minus the variance of gradients, how much an image's input gradient changes in training.

Agarwal, D'souza and Hooker 2022 (arXiv 2008.11600, section 2): see `input_gradients` for the raw
values. They are averaged over the runs and standardised within each class, since the classes differ
in scale more than their images do.

In short runs it says little of how hard an image is: easy images have large logits, whose gradients
change much too.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.input_gradients import InputGradients

NEEDS = ("input_gradients",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,), mean 0 and variance 1 in each class; 0 in a class whose images do not differ."""
    raw = evidence.get(InputGradients).variation.mean(axis=0, dtype=np.float64)  # (N,)
    out = np.zeros_like(raw)
    for label in np.unique(evidence.labels):
        members = evidence.labels == label
        spread = raw[members].std()
        if spread > 0:
            out[members] = (raw[members].mean() - raw[members]) / spread
    return np.asarray(out)
