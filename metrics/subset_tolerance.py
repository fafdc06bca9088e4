"""`subset-tolerance`: from how small a share of the training images an image is still learned.

The smallest training subset at which, and at every larger one, at least 90 % of the networks that
held the image out give its label. As the highest level of privacy does in `priv`, it asks how few
images of its kind suffice: nothing can be learned from an image that stands alone, with privacy or
from a subset that lacks it. Of equals, the one with more right answers over all sizes ranks higher.
The share of right answers at one size is the C-score's integrand (Jiang et al. 2021, arXiv
2002.03206, section 2).
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.crossfit import Crossfit
from fmsel.metrics.evidence.subsets import Subsets

NEEDS = ("subsets", "crossfit")
LABEL_USE = "formula"
RIGHT = 0.9  # share of the held-out networks


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [0, S + 1] for S sizes, N/2 (the cross-fitted ensemble) among them.

    The level, which is the number of sizes tolerated counted from the largest down, plus the area,
    which is the mean share of right networks over the sizes. The area reaches 1 at the highest
    level only, so the order is by level first, and different pairs never tie.
    """
    subsets, halves = evidence.get(Subsets), evidence.get(Crossfit).heldout  # (R, N, C)
    at_half = (halves.argmax(axis=2) == evidence.labels).mean(axis=0)
    share = np.vstack([subsets.right / subsets.networks, at_half])  # (S, N), smallest size first
    tolerated = np.cumprod(share[::-1] >= RIGHT, axis=0)
    return np.asarray(tolerated.sum(axis=0) + share.mean(axis=0))
