"""The nearest neighbours of every vector among all the others, by faiss.

Exact up to 100,000 vectors; beyond, in the cells of an inverted file (faiss `IndexIVFFlat`), as
many of them as a measured recall asks for.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

EXACT_UP_TO = 100_000  # vectors; about half a minute with 128 features on two CPU cores
RECALL = 0.95  # share of the true neighbours that an inexact search must find
SAMPLE = 1_000  # vectors on which recall is measured
BLOCK = 2**24  # floats held at once while distances are computed again


class Neighbours(NamedTuple):
    """Neighbours of N vectors, the nearest first."""

    indices: IntArray  # (N, K), never the vector itself
    distances: FloatArray  # (N, K) Euclidean, ascending; exactly 0 for equal vectors
    recall: float  # 1.0 where the search was exact, else as measured


def nearest_neighbours(features: FloatArray, count: int) -> Neighbours:
    """The `count` nearest other vectors of each.

    Args:
        features: (N, D) float32, finite.
        count: K in [1, N - 1].
    """
    import faiss

    centred = np.ascontiguousarray(features - features.mean(axis=0))  # smaller rounding errors
    exact = faiss.IndexFlatL2(centred.shape[1])
    exact.add(centred)
    if len(centred) <= EXACT_UP_TO:
        found, recall = exact.search(centred, count + 1)[1], 1.0
    else:
        found, recall = _search_cells(centred, count + 1, exact)
    return Neighbours(*_by_distance(centred, _without_self(found)), recall)


def _search_cells(features: FloatArray, count: int, exact: Any) -> tuple[IntArray, float]:
    """(N, count) found in as few cells as give `RECALL` on a sample, and that recall."""
    import faiss

    total, width = features.shape
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, 4 * int(total**0.5))
    index.train(features)
    index.add(features)
    sample = features[:: max(1, total // SAMPLE)]
    truth = exact.search(sample, count)[1]
    index.nprobe, recall = 4, 0.0
    while recall < RECALL and index.nprobe < index.nlist:
        index.nprobe = min(2 * index.nprobe, index.nlist)
        recall = _recall(index.search(sample, count)[1], truth)
    found = index.search(features, count)[1]
    short = (found < 0).any(axis=1)  # the cells held fewer vectors than were asked for
    if short.any():
        found[short] = exact.search(features[short], count)[1]
    return found, recall


def _recall(found: IntArray, truth: IntArray) -> float:
    hits = sum(len(np.intersect1d(f, t)) for f, t in zip(found, truth, strict=True))
    return hits / truth.size


def _without_self(found: IntArray) -> IntArray:
    own = found == np.arange(len(found))[:, None]
    own[~own.any(axis=1), -1] = True  # among many equal vectors, one's own place may be missing
    return np.asarray(found[~own].reshape(len(found), -1))


def _by_distance(features: FloatArray, found: IntArray) -> tuple[IntArray, FloatArray]:
    """Neighbours in order of their distance, which faiss gives only to rounding errors."""
    distances = np.empty(found.shape, dtype=np.float32)
    step = max(1, BLOCK // (found.shape[1] * features.shape[1]))
    for start in range(0, len(found), step):
        rows = slice(start, start + step)
        apart = features[found[rows]] - features[rows, None]  # (rows, K, D)
        distances[rows] = np.linalg.norm(apart, axis=2)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(distances, order, axis=1)
