"""A map in two dimensions of some of the images, by t-SNE, and how far it can be trusted.

van der Maaten and Hinton (2008), "Visualizing data using t-SNE", JMLR 9; initialised by principal
components, as Kobak and Berens (2019) advise, Nature Communications 10. Trustworthiness: Venna and
Kaski (2001), ICANN.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmsel.embeddings.vectors.reduce import principal_components
from fmsel.embeddings.vectors.shards import Rows
from fmsel.seeds import generator

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

OTHERS = 3_000  # images drawn beside those that must be on the map
MOST = 6_000  # images that t-SNE itself places; a minute on two cores
COMPONENTS = 50  # principal components that t-SNE reads
PERPLEXITY = 30.0  # or a third of the images, where they are fewer than 90
NEIGHBOURS = 5  # by which trustworthiness is measured, and others are placed
FEWEST = 8  # images below which only principal components are drawn


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageMap:
    """Places of some images.

    Attributes:
        indices: (K,) int64 ascending, of the data set.
        points: (K, 2) float32; only who is near whom has a meaning.
        placed: (K,) bool, False = at the weighted mean of the nearest images that t-SNE placed.
        method: what made it, in words.
        trustworthiness: in 0..1, of the images that were placed, among their `NEIGHBOURS` nearest;
            1 = all neighbours on the map are neighbours among the vectors. None for a few images.
    """

    indices: IntArray
    points: FloatArray
    placed: npt.NDArray[np.bool_]
    method: str
    trustworthiness: float | None

    def at(self, indices: IntArray) -> FloatArray:
        """(M, 2) places of images that are all on the map."""
        return np.asarray(self.points[np.searchsorted(self.indices, indices)])


def image_map(
    features: Rows, wanted: IntArray, *, others: int = OTHERS, seed: int = 0, most: int = MOST
) -> ImageMap:
    """Place the images `wanted` and a random sample of the others.

    t-SNE runs on the sample and on as many of `wanted` as `most` allows, drawn at random; the rest
    of `wanted` are placed at the mean of their nearest neighbours on the map, weighted by the
    inverse of the distance.

    Args:
        features: (N, D) float32.
        wanted: (W,) distinct images.
        others: how many images beside them, at most.
        seed: of the sample and of t-SNE.
        most: images that t-SNE itself places, above `others`.
    """
    rng = generator(seed, "map")
    rest = np.setdiff1d(np.arange(len(features), dtype=np.int64), wanted)
    drawn = rng.choice(rest, min(others, len(rest)), replace=False)
    first = rng.permutation(np.unique(wanted))
    core = np.sort(np.concatenate([drawn, first[: most - len(drawn)]])).astype(np.int64)
    late = np.sort(first[most - len(drawn) :]).astype(np.int64)
    vectors = np.asarray(features[core], dtype=np.float32)
    points, method, trust = _places(vectors, seed)
    if len(late):
        found = _beside(np.asarray(features[late], dtype=np.float32), vectors, points)
        core, points = np.concatenate([core, late]), np.concatenate([points, found])
    order = np.argsort(core)
    return ImageMap(
        indices=core[order],
        points=points[order],
        placed=(np.arange(len(core)) < len(core) - len(late))[order],
        method=method,
        trustworthiness=trust,
    )


def _places(vectors: FloatArray, seed: int) -> tuple[FloatArray, str, float | None]:
    """(K, 2), how they were made, and their trustworthiness."""
    count, width = vectors.shape
    if count < FEWEST or not vectors.var(axis=0).any():
        flat = np.zeros((count, 2), dtype=np.float32)
        components = min(2, count, width)
        if vectors.var(axis=0).any():
            flat[:, :components] = principal_components(vectors, components, seed)[0]
        return flat, "principal components", None
    from sklearn.manifold import TSNE, trustworthiness

    if min(count, width) > COMPONENTS:
        reduced, _ = principal_components(vectors, COMPONENTS, seed)
    else:
        reduced = vectors - vectors.mean(axis=0)
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    state = int(generator(seed, "t-SNE").integers(2**31))
    model = TSNE(perplexity=perplexity, init=_start(reduced, seed), random_state=state)
    points = np.asarray(model.fit_transform(reduced), dtype=np.float32)
    near = min(NEIGHBOURS, (count - 1) // 2)
    trust = float(trustworthiness(vectors, points, n_neighbors=near))
    return points, f"t-SNE, perplexity {perplexity:g}", trust


def _start(reduced: FloatArray, seed: int) -> FloatArray:
    """(K, 2) the first two principal components, scaled as scikit-learn scales them."""
    start = np.zeros((len(reduced), 2), dtype=np.float32)
    components = min(2, reduced.shape[1])
    start[:, :components] = principal_components(reduced, components, seed)[0]
    return np.asarray(start / start[:, 0].std() * 1e-4, dtype=np.float32)


def _beside(queries: FloatArray, vectors: FloatArray, points: FloatArray) -> FloatArray:
    """(Q, 2) means of the places of the nearest `vectors`, weighted by 1 / distance."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(vectors))).fit(vectors)
    distances, found = model.kneighbors(queries)
    weights = 1 / np.maximum(distances, 1e-12)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((weights[:, :, None] * points[found]).sum(axis=1), dtype=np.float32)
