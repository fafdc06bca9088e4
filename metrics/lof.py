"""`lof`: negative local outlier factor, an image's density over that of its neighbours; no labels.

Breunig, Kriegel, Ng and Sander 2000, "LOF: identifying density-based local outliers", definition 7,
over 20 neighbours, by scikit-learn.
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from fmsel.metrics.evidence import Evidence
from fmsel.metrics.evidence.embedding import Embedding

NEEDS = ("embedding",)
LABEL_USE = "none"
FLOOR = 0.01  # of the mean distance to the last neighbour: copies would have infinite density


def score(evidence: Evidence) -> npt.NDArray[np.floating]:
    """(N,) < 0; about -1 = as dense as the neighbours, lower = an outlier.

    Distances below a hundredth of the mean one count as that, so that copies stay finite.
    """
    from sklearn.neighbors import LocalOutlierFactor

    embedding = evidence.get(Embedding)
    count, k = embedding.neighbours.shape
    least = FLOOR * (embedding.distances[:, -1].mean(dtype=np.float64) or 1.0)
    # scikit-learn wants each image among its own neighbours, first and at distance 0.
    own = np.arange(count)[:, None]
    distances = np.hstack([np.zeros((count, 1)), np.maximum(embedding.distances, least)])
    indices = np.hstack([own, embedding.neighbours])
    starts = np.arange(0, distances.size + 1, k + 1)
    graph = csr_array((distances.ravel(), indices.ravel(), starts), shape=(count, count))
    model = LocalOutlierFactor(n_neighbors=k, metric="precomputed").fit(graph)
    return np.asarray(model.negative_outlier_factor_)
