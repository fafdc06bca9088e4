"""k-means: scikit-learn's with k-means++ starts, and faiss above a stated size."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fmsel.seeds import generator

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

SKLEARN_UP_TO = 200_000  # vectors; beyond it faiss is several times faster
RESTARTS = 3  # of which the best is kept
ITERATIONS = 25  # of faiss


class Clusters(NamedTuple):
    """A partition of N vectors."""

    labels: IntArray  # (N,) in [0, K); a cluster may be empty where vectors are equal
    centres: FloatArray  # (K, D)


def k_means(vectors: FloatArray, k: int, seed: int) -> Clusters:
    """Partition (N, D) float32 `vectors` into `k` clusters, 1 <= k <= N."""
    rng = generator(seed, "k-means")
    if len(vectors) <= SKLEARN_UP_TO:
        import warnings

        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        state = int(rng.integers(2**31))
        with warnings.catch_warnings():  # fewer distinct vectors than clusters: some stay empty
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = KMeans(k, n_init=RESTARTS, random_state=state).fit(vectors)
        return Clusters(fitted.labels_.astype(np.int64), fitted.cluster_centers_.astype(np.float32))
    import faiss

    trained = faiss.Kmeans(
        vectors.shape[1], k, niter=ITERATIONS, nredo=RESTARTS, seed=int(rng.integers(2**31))
    )
    trained.train(vectors)
    return Clusters(trained.index.search(vectors, 1)[1][:, 0], np.asarray(trained.centroids))
