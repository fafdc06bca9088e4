"""Canonical prototypes, memorized exceptions and uncommon submodes.

The three kinds of image that Carlini, Erlingsson and Papernot 2019 (arXiv 1910.13427) find where
metrics agree or differ; the rules are ours, from what the metrics measure. All ranks are within
the class:

- a canonical prototype is in the top quarter by each of the paper's five metrics that was scored
  (by every metric, where fewer than three of the five were);
- a memorized exception has a label that networks which never saw it do not give (lowest quarter by
  metrics that read the label), although they are sure and of one mind (upper half): who trains on
  it can only know it by heart. Wrong labels are among them;
- an uncommon submode is a cluster of its class (HDBSCAN of the features) whose images are rare
  (median in the lowest quarter: learned only with precision, or far from their neighbours), and
  yet networks that never saw them give them their label (median probability of a half or more),
  since they have company. Belief is judged by its value: within a class, whatever is rare ranks
  low by every metric that reads the label.

A kind is decided by the metrics of its roles that were scored; ranks of several are averaged.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA

from fmsel.metrics.scores.artefact import Scores
from fmsel.metrics.scores.ranking import FloatArray, class_ranking, within_class_percentile

PROTOTYPE, EXCEPTION, SUBMODE = "canonical prototype", "memorized exception", "uncommon submode"
NO_CATEGORY, NO_CLUSTER = "", -1
TOP, UPPER, LOW = 0.75, 0.5, 0.25  # within-class percentiles
BELIEVED = 0.5  # probability of the given label
FIVE = ("adv", "ret", "agr", "conf", "priv")
ENOUGH = 3  # of the five, to speak for all
ROLES = {
    "sure": ("conf", "agr"),
    "unseen": ("self-confidence", "adv", "adv-linf", "leave-one-out"),
    "believed": ("self-confidence",),
    "rare": ("noise-tolerance", "subset-tolerance", "priv", "knn-density"),
}
NEEDED = {PROTOTYPE: (), EXCEPTION: ("sure", "unseen"), SUBMODE: ("believed", "rare")}
CLUSTER = 5  # images, the fewest in a submode
DIMENSIONS = 16  # of the features that are clustered: density means little in many more


@dataclass(frozen=True, kw_only=True, eq=False)
class Categories:
    """The category of every image.

    Attributes:
        category: (N,) str, "" for none.
        cluster: (N,) int64, number of the submode within its class, -1 for none.
    """

    category: npt.NDArray[np.str_]
    cluster: npt.NDArray[np.int64]


def used_metrics(scores: Scores) -> dict[str, tuple[str, ...]]:
    """Role -> the metrics of it that were scored; belief is a probability, which no rank tells."""
    used = {role: tuple(m for m in all_ if m in scores.arrays) for role, all_ in ROLES.items()}
    believed = tuple(m for m in used["believed"] if not scores.records[m].published)
    return {**used, "believed": believed}


def missing_roles(scores: Scores) -> dict[str, tuple[str, ...]]:
    """Category -> its roles that no scored metric fills; only those that lack one."""
    used = used_metrics(scores)
    lacking = {kind: tuple(r for r in roles if not used[r]) for kind, roles in NEEDED.items()}
    return {kind: roles for kind, roles in lacking.items() if roles}


def categorise(
    scores: Scores,
    labels: npt.NDArray[np.int64],
    features: FloatArray | None,
) -> Categories:
    """Put each image into at most one category; the first that fits, in the order of `NEEDED`.

    Args:
        scores: of N images.
        labels: (N,), all known.
        features: (N, D) in which submodes are clusters; None finds no submodes.
    """
    roles = _roles(scores, labels)
    category = np.full(len(labels), NO_CATEGORY, dtype="<U32")
    cluster = np.full(len(labels), NO_CLUSTER)
    if features is not None and SUBMODE not in missing_roles(scores):
        cluster = submodes(features, labels, roles["rare"], scores.array("self-confidence"))
        category[cluster != NO_CLUSTER] = SUBMODE
    if EXCEPTION not in missing_roles(scores):
        category[(roles["sure"] >= UPPER) & (roles["unseen"] <= LOW)] = EXCEPTION
    everywhere = [within_class_percentile(scores.array(m), labels) for m in _judges(scores)]
    category[np.min(everywhere, axis=0) >= TOP] = PROTOTYPE
    return Categories(category=category, cluster=np.where(category == SUBMODE, cluster, -1))


def submodes(
    features: FloatArray,
    labels: npt.NDArray[np.int64],
    rarity: FloatArray,
    belief: FloatArray,
) -> npt.NDArray[np.int64]:
    """Cluster each class; the clusters that are rare and yet believed are its submodes.

    The whole class is clustered, since it takes the common images to see that a few others lie
    apart from them. HDBSCAN after Campello, Moulavi and Sander 2013.

    Args:
        features: (N, D) finite.
        labels: (N,).
        rarity: (N,) within-class percentile, low = rare.
        belief: (N,) held-out probability of the given label.
    Returns:
        (N,) int64 number of an image's submode within its class, the largest first; -1 for none.
    """
    out = np.full(len(labels), NO_CLUSTER)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2 * CLUSTER or np.ptp(features[members], axis=0).max() == 0:
            continue
        found = HDBSCAN(min_cluster_size=CLUSTER, copy=True).fit_predict(_reduce(features[members]))
        clusters = [members[found == number] for number in range(found.max() + 1)]
        kept = [
            each
            for each in clusters
            if np.median(rarity[each]) <= LOW and np.median(belief[each]) >= BELIEVED
        ]
        for number, each in enumerate(sorted(kept, key=len, reverse=True)):
            out[each] = number
    return out


def _judges(scores: Scores) -> tuple[str, ...]:
    """The metrics that must all call an image prototypical."""
    found = tuple(metric for metric in FIVE if metric in scores.arrays)
    return found if len(found) >= ENOUGH else tuple(scores.arrays)


def _reduce(features: FloatArray) -> npt.NDArray[np.float64]:
    """(n, D) -> (n, at most `DIMENSIONS`) by PCA of one class."""
    size = min(DIMENSIONS, *features.shape)
    return np.asarray(
        PCA(size, svd_solver="randomized", random_state=0).fit_transform(features), np.float64
    )


def _roles(scores: Scores, labels: npt.NDArray[np.int64]) -> Mapping[str, npt.NDArray[np.float64]]:
    """Role -> (N,) mean within-class percentile of its metrics, ranked again; filled roles only."""
    return {
        role: within_class_percentile(
            class_ranking([scores.array(m) for m in used], labels), labels
        )
        for role, used in used_metrics(scores).items()
        if used
    }
