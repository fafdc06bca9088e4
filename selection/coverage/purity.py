"""The radius of ProbCover: as large as balls can be and hold one cluster only."""

from functools import partial

import numpy as np

from fmsel.seeds import generator
from fmsel.selection.coverage.kernels import FloatArray
from fmsel.selection.geometry.backend import Backend, Local
from fmsel.selection.geometry.kmeans import IntArray, k_means
from fmsel.selection.geometry.points import Points, each_block
from fmsel.selection.geometry.vectors import blocks

BALLS = 5_000  # whose purity is looked at; of more, a sample
LARGEST = 2.0  # distance of two unit vectors


def pure_radius(
    points: Points, clusters: int, purity: float, seed: int, backend: Backend | None = None
) -> float:
    """The largest delta at which a share `purity` of the balls are pure, by k-means clusters.

    A ball, the points within a distance below delta of one of them, is pure where all of them are
    of one cluster, so up to the distance of its centre to the nearest point of another cluster: no
    grid of radii is needed. Yehuda et al., NeurIPS 2022, section 3.2.

    Args:
        points: (P, D) directions.
        clusters: K, the number of classes.
        purity: in 0..1.
        seed: of k-means and the sample of balls.
        backend: where balls are compared with all points; None = here.
    Returns:
        A radius in 0..2; 2 where there is but one cluster.
    """
    backend = backend or Local()
    labels = k_means(points, min(clusters, len(points)), seed, backend).labels
    balls = np.arange(len(points))
    if len(balls) > BALLS:
        balls = np.sort(generator(seed, "balls").choice(balls, BALLS, replace=False))
    look = partial(_nearest_others, centres=points[balls], own=labels[balls], labels=labels)
    nearest = np.full(len(balls), -1, dtype=np.float32)  # cosine with another cluster's points
    for found in backend.map(look, points, blocks(len(points), len(balls))):
        np.maximum(nearest, found, out=nearest)
    by_radius = np.argsort(-nearest, kind="stable")
    impure = min(int((1 - purity) * len(balls) + 1e-9), len(balls) - 1)  # so many may be impure
    cosine = _nearest_other(points, labels, int(balls[by_radius[impure]]))
    return float(min(np.sqrt(max(2 - 2 * cosine, 0)), LARGEST))


def _nearest_others(
    points: Points, part: slice, *, centres: FloatArray, own: IntArray, labels: IntArray
) -> FloatArray:
    """(B,) the greatest cosine of each of B centres with points of the block in other clusters."""
    cosines = centres @ points[part].T
    cosines[own[:, None] == labels[part]] = -1
    return np.asarray(cosines.max(axis=1))


def _nearest_other(points: Points, labels: IntArray, ball: int) -> float:
    """The greatest cosine of a point with points of other clusters, in float64; -1 without any.

    The radius then has the same bits whatever the number of threads.
    """
    centre, nearest = points[np.array([ball])][0].astype(np.float64), -1.0
    for part, block in each_block(points):
        others = block[labels[part] != labels[ball]]
        nearest = max(nearest, float(np.max(others @ centre, initial=-1)))
    return nearest
