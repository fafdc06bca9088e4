"""Clouds and planted blobs, and what is known of them by brute force."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances

from fmsel.selection.geometry.clusters import clustered
from fmsel.selection.geometry.kmeans import Clusters
from fmsel.selection.pool import Pool

SEEDS = st.integers(0, 2**32 - 1)


def cloud(seed: int, n: int, centres: int = 4, width: int = 6, spread: float = 0.5) -> np.ndarray:
    """Rows of all lengths around some centres."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(centres, width))[rng.integers(0, centres, n)]
    rows = middle + spread * rng.normal(size=(n, width))
    return np.asarray(rows * rng.uniform(1, 3, (n, 1)), dtype=np.float32)


def planted(sizes: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Blobs around the axes in shuffled order, (N, D); and the blob of each row, (N,).

    Half of each blob lies close to its axis.
    """
    rng = np.random.default_rng(seed)
    blob = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    noise = rng.normal(size=(len(blob), len(sizes) + 4))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    length = np.where(rng.random(len(blob)) < 0.5, 0.1, 0.4)
    rows = np.eye(len(sizes), len(sizes) + 4)[blob] + length[:, None] * noise
    return rows.astype(np.float32), blob


def pool_of(features: np.ndarray, **known: Any) -> Pool:
    return Pool(n=len(features), features=features, **known)


def inertia(points: np.ndarray, found: Clusters) -> float:
    return float(((points - found.centres[found.labels]).astype("f8") ** 2).sum())


def brute_typicality(points: np.ndarray) -> np.ndarray:
    """1 / the mean distance to the nearest others, of the definition; 0 for a point alone."""
    if len(points) < 2:
        return np.zeros(len(points))
    count = max(1, min(20, len(points) // 2))
    apart = np.sort(pairwise_distances(points.astype("f8")), axis=1)[:, 1 : count + 1]
    return np.asarray(1 / (apart.mean(axis=1) + 1e-5))


def turns_of(pool: Pool, picks: np.ndarray, k: int) -> list[tuple[int, np.ndarray]]:
    """The cluster of each pick, and the images of it that could have been chosen instead."""
    clusters = clustered(pool, k, 0)
    label = np.full(pool.n, -1)
    label[clusters.images] = clusters.labels
    groups = np.arange(pool.n) if pool.groups is None else pool.groups
    open_ = pool.available
    turns = []
    for pick in picks:
        assert pick in open_
        turns.append((int(label[pick]), open_[label[open_] == label[pick]]))
        open_ = open_[groups[open_] != groups[pick]]
    return turns


def some_pool(seed: int, held: int, grouped: bool, n: int = 60) -> Pool:
    rng = np.random.default_rng(seed)
    return pool_of(
        cloud(seed, n),
        candidates=rng.permutation(n)[: n - 6],
        labeled=rng.permutation(n)[:held],
        groups=rng.integers(0, 40, n) if grouped else None,
    )
