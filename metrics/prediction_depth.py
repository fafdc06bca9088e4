"""`prediction-depth`: minus the number of layers that it takes to recognise an image.

Baldock, Maennel and Neyshabur 2021 (arXiv 2106.09647, section 2): the first layer from which on the
nearest-neighbour probes of all layers give the same class. The paper asks for the class that the
network predicts in the end, which on its fully fitted training images is the given label; short
runs do not fit them all, so we ask for the given label, and an image whose last probe gives another
class has the full depth. Averaged over the runs. Depths tie, so within one depth the image with
more neighbours of its own label, over all layers, ranks as more prototypical (our addition).
"""

import numpy as np
import numpy.typing as npt

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.layer_neighbours import LayerNeighbours

NEEDS = ("layer_neighbours",)
LABEL_USE = "formula"


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [-L, 1), minus the mean depth of R runs, plus less than its least step, 1 / R."""
    part = evidence.get(LayerNeighbours)
    share = part.share.mean(axis=(0, 1), dtype=np.float64)
    return np.asarray(share / (2 * len(part.right)) - depth(part.right).mean(axis=0))


def depth(right: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(R, L, N), right at each probe -> (R, N), L minus the length of the unbroken right end."""
    settled = np.logical_and.accumulate(right[:, ::-1], axis=1)
    return np.asarray(right.shape[1] - settled.sum(axis=1))
