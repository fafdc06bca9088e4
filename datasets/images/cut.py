"""The stratified cut that holds out a test part where a data set comes without one."""

import numpy as np
import numpy.typing as npt

from fmsel.seeds import generator


def stratified_cut(
    labels: npt.NDArray[np.int64], fraction: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Choose the images to hold out: `fraction` of each class, rounded to whole images.

    The total is `fraction` of all (at least 1), shared out by largest remainder, so each class is
    within one image of its exact share; the last image of a class is never held out.

    Args:
        labels: (N,) in [0, C).
        fraction: in (0, 1).
        seed: each class draws from a stream of its own.
    Returns:
        (N,) True where the image is held out.
    """
    held_out = np.zeros(len(labels), dtype=np.bool_)
    counts = np.bincount(labels)
    for label, share in enumerate(_shares(counts, fraction)):
        members = np.flatnonzero(labels == label)
        held_out[generator(seed, "held-out part", label).permutation(members)[:share]] = True
    return held_out


def _shares(counts: npt.NDArray[np.int64], fraction: float) -> npt.NDArray[np.int64]:
    exact = counts * fraction
    shares: npt.NDArray[np.int64] = np.minimum(exact.astype(np.int64), np.maximum(counts - 1, 0))
    room = (shares < counts - 1) & (shares < exact)
    missing = max(1, round(counts.sum() * fraction)) - shares.sum()
    order = np.argsort(-(exact - shares), kind="stable")
    shares[order[room[order]][: max(0, missing)]] += 1
    return shares
