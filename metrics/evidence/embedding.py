"""Vectors of every image and the nearest neighbours of each, for metrics that read no label.

The vectors are the user's `Embeddings`, as they are, or else the whitened principal components of
patch features. Neighbours are those of the nearest direction (cosine), as is usual for learned
embeddings: lengths say how much contrast an image has, and make bland images look typical.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.embeddings.vectors.neighbours import EXACT_UP_TO, nearest_neighbours
from fmsel.embeddings.vectors.reduce import principal_components, unit_length, whiten
from fmsel.errors import DataError
from fmsel.metrics.evidence.jobs.plan import Plan
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.patches import Patches

COMPONENTS = 128
FEW_COMPONENTS = 4  # but fewer than images
IMAGES_A_COMPONENT = 10  # fewer, and whitening makes all images equally far from each other
NEIGHBOURS = 20  # as in TypiClust and in scikit-learn's LocalOutlierFactor
STEPS = 1.0  # image steps that reducing one image takes, measured on a CPU
PRODUCTS = 9e6  # features of pairs that are compared in the time of one image step, likewise


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """Vectors and neighbours; arrays are shared by all who read them, so not to be changed.

    Attributes:
        features: (N, D) float32.
        neighbours: (N, K) int64, the nearest other images, the nearest first; K = min(20, N - 1).
        distances: (N, K) float32 in [0, 2], Euclidean between vectors scaled to length 1,
            ascending; 0 for equal vectors.
        clusters: number of classes of the data set, or None where nobody knows it.
        seed: for what is random in a metric.
        parameters: JSON-able.
    """

    features: npt.NDArray[np.float32]
    neighbours: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float32]
    clusters: int | None
    seed: int
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """The neighbours, after the patch features where no embeddings were given.

    Raises:
        ArtefactError: embeddings of other images.
        DataError: embeddings that learned from labels, or of a single feature.
    """
    given = settings.embeddings
    count = _components(len(data))
    if given is None:
        return Plan(
            what=f"{count} components of the patch features, {NEIGHBOURS} neighbours of each image",
            work={(): STEPS * len(data) + _search_work(len(data), count)},
            needs=("patches",),
        )
    given.check(data, "the embeddings file")
    if given.uses_labels:
        raise DataError(
            f"the {given.encoder} embeddings of {data.name} learned from its labels, so no "
            "label-free metric can be made from them; embed the images by an encoder that did not"
        )
    width = given.features.shape[1]
    if width < 2:
        raise DataError(
            f"the {given.encoder} embeddings of {data.name} have one feature, and neighbours are "
            "those of the nearest direction; give at least two"
        )
    return Plan(
        what=f"{NEIGHBOURS} neighbours of each image by {width:,} {given.encoder} features",
        work={(): _search_work(len(data), width)},
    )


def make(data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]) -> Embedding:
    """Reduce the patch features, or take the given vectors, and search neighbours."""
    settings.say(f"embedding: {plan.what}")
    if settings.embeddings is None:
        features, parameters = _from_patches(made["patches"], settings.seed)
    else:
        features = np.asarray(settings.embeddings.features)
        parameters = {
            "encoder": settings.embeddings.encoder,
            "encoder_seed": settings.embeddings.seed,
            "sha256": settings.embeddings.sha256,
            **settings.embeddings.parameters,
        }
    found = nearest_neighbours(unit_length(features), min(NEIGHBOURS, len(data) - 1))
    if found.recall < 1:
        settings.say(f"embedding: a sample has {found.recall:.1%} of its true neighbours")
    return Embedding(
        features=features,
        neighbours=found.indices,
        distances=found.distances,
        clusters=data.n_classes or None,
        seed=settings.seed,
        parameters={
            **parameters,
            "neighbours": found.indices.shape[1],
            "recall": round(found.recall, 4),
        },
    )


def _from_patches(patches: Patches, seed: int) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
    count = min(_components(len(patches.features)), patches.features.shape[1])
    components, explained = principal_components(patches.features, count, seed)
    return whiten(components), {
        "encoder": "patches",
        "pca": count,
        "explained_variance": round(explained, 4),
        "whitened": True,
    }


def _search_work(images: int, width: int) -> float:
    return images * min(images, EXACT_UP_TO) * width / PRODUCTS


def _components(images: int) -> int:
    enough = max(images // IMAGES_A_COMPONENT, min(FEW_COMPONENTS, images - 1))
    return min(COMPONENTS, enough)
