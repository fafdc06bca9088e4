"""`noise-tolerance`: how much clipping and noise in training an image's classification bears.

The mechanism of `priv` without its accounting, so nothing here is private and no level is an
epsilon: the highest noise level at which at least 90 % of the models that held the image out are
right, at it and at all lower levels; equal images are ordered by the area under their accuracy
curve (ours; Bagdasaryan and Shmatikov 2019, arXiv 1905.12101, show that clipping and noise cost
most on unusual images).
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.noisy_heads import NoisyHeads
from fmsel.metrics.priv import levels_passed

NEEDS = ("noisy_heads",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [0, S + 1] for S noise levels, as `levels_passed` counts."""
    heads = evidence.get(NoisyHeads)
    return levels_passed(heads.right, heads.models)
