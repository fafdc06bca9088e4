"""The label-free metrics against scikit-learn, on copies, and on images that nobody labelled."""

import warnings
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import normalize

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.errors import ArtefactError, DataError
from fmsel.metrics import isolation_forest, knn_density, lof, ssl_prototype
from fmsel.metrics.evidence import Evidence, Settings, gather
from fmsel.metrics.evidence.embedding import Embedding
from fmsel.metrics.scores import Scores
from fmsel.metrics.scores.score import score_dataset

METRICS = (knn_density, lof, ssl_prototype, isolation_forest)
NAMES = ("knn-density", "lof", "ssl-prototype", "isolation-forest")


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    data = load_dataset("digits")
    return replace(data, images=data.images[:300], labels=data.labels[:300], ids=data.ids[:300])


@pytest.fixture(scope="module")
def patches(digits: ImageDataset) -> Scores:
    """Scores of the digits by patch features, without their labels."""
    blind = replace(digits, labels=np.full(300, -1), class_names=())
    return score_dataset(blind, NAMES, Settings(device="cpu"))


def embeddings(data: ImageDataset, features: np.ndarray, uses_labels: bool = False) -> Embeddings:
    return Embeddings(
        dataset=data.describe(),
        features=features.astype(np.float32),
        encoder="dino",
        parameters={"patch": 14},
        seed=7,
        uses_labels=uses_labels,
    )


def vectors(seed: int = 0, count: int = 300, width: int = 6) -> np.ndarray:
    """Two clouds, one three times as wide, off the origin."""
    rng = np.random.default_rng(seed)
    spread = np.where(np.arange(count) % 3 == 0, 3.0, 1.0)[:, None]
    centre = np.where(np.arange(count)[:, None] % 3 == 0, 2.0, -4.0)
    rows = rng.normal(centre, spread, (count, width))
    return np.asarray(rows, dtype=np.float32)


def evidence(data: ImageDataset, features: np.ndarray, seed: int = 0) -> Evidence:
    settings = Settings(device="cpu", seed=seed, embeddings=embeddings(data, features))
    return gather(data, ["embedding"], settings)


def test_density_is_that_of_a_brute_force_search(digits: ImageDataset, seed: int) -> None:
    rows = normalize(vectors(seed).astype(np.float64))
    distances, _ = NearestNeighbors(n_neighbors=20, algorithm="brute").fit(rows).kneighbors()
    found = knn_density.score(evidence(digits, vectors(seed)))
    np.testing.assert_allclose(found, -distances.mean(axis=1), rtol=1e-4)


def test_lof_is_that_of_scikit_learn(digits: ImageDataset, seed: int) -> None:
    model = LocalOutlierFactor(n_neighbors=20, algorithm="brute")
    model.fit(normalize(vectors(seed).astype(np.float64)))
    found = lof.score(evidence(digits, vectors(seed)))
    np.testing.assert_allclose(found, model.negative_outlier_factor_, rtol=1e-3)


def test_prototypes_are_those_of_well_parted_clusters(digits: ImageDataset, seed: int) -> None:
    """Where the clusters are clear, any k-means must find their means."""
    rng = np.random.default_rng(seed)
    which = np.arange(300) % 10
    rows = np.eye(10)[which] * 5 + rng.normal(0, 0.1, (300, 10))
    unit = normalize(rows)
    means = np.stack([unit[which == c].mean(axis=0) for c in range(10)])
    expected = cosine_similarity(unit, means)[np.arange(300), which] - 1
    found = ssl_prototype.score(evidence(digits, rows))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_number_of_prototypes_is_that_of_the_classes_or_ten(digits: ImageDataset) -> None:
    part = evidence(digits, vectors()).get(Embedding)
    assert part.clusters == 10
    three = Evidence(labels=digits.labels, parts={"embedding": replace(part, clusters=3)})
    best = KMeans(3, n_init=20, random_state=0).fit(normalize(part.features))
    cosine = cosine_similarity(part.features, best.cluster_centers_).max(axis=1)
    np.testing.assert_allclose(ssl_prototype.score(three), cosine - 1, atol=1e-4)
    blind = replace(digits, labels=np.full(300, -1), class_names=())
    assert evidence(blind, vectors()).get(Embedding).clusters is None


def test_isolation_forest_ranks_as_one_of_another_seed(digits: ImageDataset) -> None:
    other = IsolationForest(n_estimators=400, random_state=5).fit(vectors())
    first = isolation_forest.score(evidence(digits, vectors()))
    assert spearmanr(first, other.score_samples(vectors())).statistic > 0.97
    assert not np.array_equal(first, isolation_forest.score(evidence(digits, vectors(), seed=1)))


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_copies_stay_finite_and_do_not_frighten(metric: ModuleType, digits: ImageDataset) -> None:
    """Half of all images are one image, more copies than there are neighbours."""
    rows = vectors()
    rows[::2] = rows[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metric.score(evidence(digits, rows))
    assert found.shape == (300,) and np.isfinite(found).all()
    np.testing.assert_allclose(found[::2], found[0], rtol=1e-5)
    assert found[0] >= np.median(found[1::2])


def test_lof_of_copies_is_bounded(digits: ImageDataset) -> None:
    """An image just outside a heap of copies is an outlier, by no more than the floor allows."""
    rows = vectors()
    rows[::2] = rows[0]
    rows[1] = rows[0] * 1.0001 + 0.0003
    found = lof.score(evidence(digits, rows))
    assert found.min() > -1000 and found[0] == pytest.approx(-1, abs=0.01)


def test_unlabelled_images_are_scored_and_strange_ones_found(
    digits: ImageDataset, patches: Scores
) -> None:
    """Digits among which every 20th has its pixels shuffled."""
    rng = np.random.default_rng(0)
    strange = np.arange(300) % 20 == 0
    images = digits.images.copy()
    for i in np.flatnonzero(strange):
        images[i] = rng.permutation(images[i].reshape(64, 3)).reshape(8, 8, 3)
    blind = replace(digits, images=images, labels=np.full(300, -1), class_names=())
    scores = score_dataset(blind, NAMES, Settings(device="cpu"))
    for name in NAMES:
        assert scores.records[name].label_use == "none"
        assert roc_auc_score(strange, -scores.array(name)) > 0.7, name
        assert not np.array_equal(scores.array(name), patches.array(name))


def test_labels_change_nothing_but_the_number_of_prototypes(
    digits: ImageDataset, patches: Scores
) -> None:
    """Ten classes, as many as are taken where nobody knows."""
    scores = score_dataset(digits, NAMES, Settings(device="cpu"))
    for name in NAMES:
        np.testing.assert_array_equal(scores.array(name), patches.array(name))


@pytest.mark.parametrize("count", [2, 3, 12])
def test_very_few_images(digits: ImageDataset, count: int) -> None:
    few = replace(
        digits, images=digits.images[:count], labels=digits.labels[:count], ids=digits.ids[:count]
    )
    scores = score_dataset(few, NAMES, Settings(device="cpu"))
    assert all(np.isfinite(scores.array(name)).all() for name in NAMES)


def test_given_embeddings_replace_the_patches_and_are_recorded(digits: ImageDataset) -> None:
    said = list[str]()
    given = embeddings(digits, vectors())
    settings = Settings(device="cpu", embeddings=given, say=said.append)
    record = score_dataset(digits, ["lof"], settings).records["lof"]
    assert list(record.parameters) == ["embedding"]
    assert record.parameters["embedding"] == {
        "encoder": "dino",
        "encoder_seed": 7,
        "sha256": given.sha256,
        "patch": 14,
        "neighbours": 20,
        "recall": 1.0,
    }
    assert said == ["embedding: 20 neighbours of each image by 6 dino features"]


def test_embeddings_that_do_not_fit_are_refused(digits: ImageDataset) -> None:
    other = replace(digits, name="other", images=255 - digits.images)
    with pytest.raises(ArtefactError, match=r"300 images of digits, not of these 300 .* of other"):
        gather(other, ["embedding"], Settings(embeddings=embeddings(digits, vectors())))
    learned = embeddings(digits, vectors(), uses_labels=True)
    with pytest.raises(DataError, match="dino embeddings of digits learned from its labels"):
        gather(digits, ["embedding"], Settings(embeddings=learned))
    slim = embeddings(digits, vectors()[:, :1])
    with pytest.raises(DataError, match="dino embeddings of digits have one feature"):
        gather(digits, ["embedding"], Settings(embeddings=slim))


def test_neighbours_are_by_direction(digits: ImageDataset) -> None:
    part = evidence(digits, vectors()).get(Embedding)
    far = np.random.default_rng(0).uniform(0.5, 2, (300, 1)).astype(np.float32)
    scaled = evidence(digits, vectors() * far).get(Embedding)
    np.testing.assert_allclose(scaled.distances, part.distances, atol=1e-5)
    apart = cdist(normalize(vectors()), normalize(vectors()))
    own = np.take_along_axis(apart, part.neighbours, axis=1)
    np.testing.assert_allclose(own, part.distances, atol=1e-5)
