"""`ssl-prototype`: negative cosine distance to the nearest of k k-means centroids; no labels.

Sorscher et al. 2022 (arXiv 2206.14486, the section on a self-supervised pruning metric); k is the
number of classes, which by their figure may be wrong by a factor of ten, so 10 where it is unknown.
"""

import numpy as np
import numpy.typing as npt

from fmsel.embeddings.vectors.reduce import unit_length
from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.embedding import Embedding
from fmsel.seeds import generator

NEEDS = ("embedding",)
LABEL_USE = "none"
UNKNOWN_CLASSES = 10
RESTARTS = 5


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) in [-2, 0]; 0 = on a centroid."""
    from sklearn.cluster import KMeans

    embedding = evidence.get(Embedding)
    directions = unit_length(embedding.features)
    wanted = embedding.clusters or UNKNOWN_CLASSES
    count = max(1, min(wanted, len(directions) // 2))  # an image alone is no cluster
    state = int(generator(embedding.seed, "ssl-prototype").integers(2**32))
    model = KMeans(count, n_init=RESTARTS, random_state=state).fit(directions)
    cosine = directions @ unit_length(model.cluster_centers_).T  # (N, k)
    return np.asarray(np.clip(cosine.max(axis=1), -1, 1) - 1)
