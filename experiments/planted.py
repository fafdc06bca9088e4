"""Images with a planted truth: what is mislabelled, rare, duplicated or blurred is known.

Made of the built-in digits. In every class, of disjoint sets of images:

- rare: 3 % are inverted (ink white on black becomes black on white), a submode of its own that
  looks consistent and has the right label;
- flipped: 5 % get the label of another class, drawn evenly, and are otherwise untouched;
- duplicates: 3 % are there twice, pixel by pixel and with the same label;
- blurred: 3 % get a blurred copy beside them (Gaussian, 1 pixel), with the same label.

`EXPECTED` says what each metric must make of each group, in one number, the AUC: how often an image
of the group scores lower than a plain one (0.5 = no difference). It follows from the definitions:

1. A formula that reads the image's own label compares it with what other images teach, so it finds
   the flipped ones. One that does not (`conf`, `agr`, everything without labels) meets an untouched
   image and must be blind to them.
2. The rare submode is where few of an image's like were seen, so predictions, learning and the
   density of all images rank it low; but a factor of local density compares an image with its
   neighbours, which are of the submode too, and must not.
3. A twin in the data can only make an image look more typical: nothing ranks duplicates low.
4. Blur takes the strokes that networks know, but a blurred copy also lies near its sharp original
   and nearer the mean of all. No definition decides this, so nothing is expected.

All this was written before anything was measured, and is not bent to fit: where a metric misses it,
`benchmarks/planted_truth.py` says so. One thing was added after seed 0 was seen, for the other
seeds to confirm: the five metrics that there were then rank blurred copies low.
`tests/test_planted_truth.py` holds every metric, with smaller networks, to all but that of `lof`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.seeds import generator

SHARES = {"flipped": 0.05, "rare": 0.03, "duplicates": 0.03, "blurred": 0.03}  # of each class
BLUR = 1.0  # pixels, standard deviation

# What an AUC must lie in, both ends included.
FOUND = (0.9, 1.0)
LOW = (0.6, 1.0)
BLIND = (0.38, 0.62)  # about three standard errors of the AUC of 70 images
NOT_LOW = (0.0, 0.6)


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What was planted.

    Attributes:
        groups: "flipped", "rare", "duplicates" (both twins) and "blurred" (the copies) -> global
            indices, int64, disjoint.
        plain: indices of the images that nothing was done to, and that have no copy.
        labels: (N,) int64, the true labels.
    """

    groups: Mapping[str, npt.NDArray[np.int64]]
    plain: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The range that the AUC of each group must lie in; None = the definition does not say."""

    flipped: tuple[float, float] | None = None
    rare: tuple[float, float] | None = None
    duplicates: tuple[float, float] | None = NOT_LOW
    blurred: tuple[float, float] | None = None

    def holds(self, group: str, auc: float) -> bool | None:
        """Whether an AUC is as expected; None where nothing is."""
        expected: tuple[float, float] | None = getattr(self, group)
        return expected and expected[0] <= auc <= expected[1]


LABEL_AWARE = Expected(flipped=FOUND, rare=LOW)
LABEL_BLIND = Expected(flipped=BLIND, rare=LOW)

EXPECTED: Mapping[str, Expected] = {
    "self-confidence": replace(LABEL_AWARE, blurred=LOW),
    "epoch-confidence": replace(LABEL_AWARE, blurred=LOW),
    "leave-one-out": replace(LABEL_AWARE, blurred=LOW),
    "conf": replace(LABEL_BLIND, blurred=LOW),
    "agr": replace(LABEL_BLIND, blurred=LOW),
    "agr-entropy": LABEL_BLIND,
    "adv": LABEL_AWARE,  # distance to leave the label's region, negative outside it
    "adv-linf": LABEL_AWARE,
    # Trained on with the wrong label, then on without it: what was memorised is lost again.
    "ret": Expected(flipped=LOW, rare=LOW),
    "priv": LABEL_AWARE,  # right under noise
    "noise-tolerance": LABEL_AWARE,
    "subset-tolerance": LABEL_AWARE,
    "el2n": LABEL_AWARE,
    "grand": LABEL_AWARE,
    "self-influence": LABEL_AWARE,
    "aum": LABEL_AWARE,
    "forgetting": LABEL_AWARE,
    "prediction-depth": LABEL_AWARE,
    "vog": Expected(),  # gradients of the label's logit: steep or flat for reasons of their own
    "knn-density": LABEL_BLIND,
    "isolation-forest": LABEL_BLIND,
    # Missed (0.94 on seed 0): of the 20 nearest patch embeddings of a rare image only 6 % are rare.
    "lof": Expected(flipped=BLIND, rare=NOT_LOW),
    "ssl-prototype": Expected(flipped=BLIND),  # a centroid may or may not fall to the submode
}


def planted_digits(seed: int) -> tuple[ImageDataset, Truth]:
    """The train part of digits with the truth planted in it; copies come after the originals.

    Args:
        seed: of the choice of images and of the wrong labels, any integer >= 0.
    """
    digits = load_dataset("digits")
    chosen = _choose(digits.labels, seed)
    images, given = digits.images.copy(), digits.labels.copy()
    images[chosen["rare"]] = 255 - images[chosen["rare"]]
    given[chosen["flipped"]] = _wrong_labels(given[chosen["flipped"]], digits.n_classes, seed)
    twins, sharp = chosen["duplicates"], chosen["blurred"]
    blurred = np.rint(gaussian_filter(images[sharp].astype(np.float32), (0, BLUR, BLUR, 0)))
    data = replace(
        digits,
        name="planted-digits",
        images=np.concatenate([images, images[twins], blurred.astype(np.uint8)]),
        labels=np.concatenate([given, given[twins], given[sharp]]),
        ids=np.array(
            [
                *digits.ids,
                *(f"{name} again" for name in digits.ids[twins]),
                *(f"{name} blurred" for name in digits.ids[sharp]),
            ]
        ),
    )
    copies = np.arange(len(digits), len(data))
    groups = {
        "flipped": chosen["flipped"],
        "rare": chosen["rare"],
        "duplicates": np.concatenate([twins, copies[: len(twins)]]),
        "blurred": copies[len(twins) :],
    }
    truth = Truth(
        groups=groups,
        plain=np.setdiff1d(np.arange(len(data)), np.concatenate([sharp, *groups.values()])),
        labels=np.concatenate([digits.labels, digits.labels[twins], digits.labels[sharp]]),
    )
    return data, truth


def group_aucs(scores: npt.NDArray[np.floating], truth: Truth) -> dict[str, float]:
    """How often an image of each group scores lower than a plain one, ties counting half.

    Args:
        scores: (N,), higher = more prototypical.
    """
    out = {}
    for name, members in truth.groups.items():
        both = np.concatenate([members, truth.plain])
        planted = np.arange(len(both)) < len(members)
        out[name] = float(roc_auc_score(planted, -scores[both]))
    return out


def _choose(labels: npt.NDArray[np.int64], seed: int) -> dict[str, npt.NDArray[np.int64]]:
    """Disjoint indices a group, the same share of every class."""
    rng = generator(seed, "planted groups")
    drawn: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in SHARES}
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        ends = np.cumsum([round(share * len(members)) for share in SHARES.values()])
        for name, part in zip(SHARES, np.split(members, ends)[:-1], strict=True):
            drawn[name].append(part)
    return {name: np.sort(np.concatenate(parts)) for name, parts in drawn.items()}


def _wrong_labels(
    labels: npt.NDArray[np.int64], n_classes: int, seed: int
) -> npt.NDArray[np.int64]:
    steps = generator(seed, "planted labels").integers(1, n_classes, len(labels))
    return np.asarray((labels + steps) % n_classes)
