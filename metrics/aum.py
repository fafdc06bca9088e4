"""`aum`: area under the margin while training on the image.

Pleiss, Zhang, Elenberg and Weinberger 2020 (arXiv 2001.10528, section 3.1): the logit of the given
label minus the largest other logit, averaged over the epochs; here also over the runs. Wrong labels
are learned against what the other images of the pictured class teach, so their margins are small.
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.long_run import LongRun

NEEDS = ("long_run",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) mean margin, in logits; below 0 = mostly taken for another class."""
    return np.asarray(evidence.get(LongRun).margins.mean(axis=(0, 1)))
