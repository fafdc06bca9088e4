"""Stratified folds."""

import numpy as np
import numpy.typing as npt


def stratified_folds(
    labels: npt.NDArray[np.int64], folds: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The fold of each image, (N,) in 0..folds-1; each class is spread evenly (within one image).

    The first fold of each class is drawn too, so that no fold collects all the odd images.
    """
    out = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        out[members] = (np.arange(len(members)) + rng.integers(folds)) % folds
    return out
