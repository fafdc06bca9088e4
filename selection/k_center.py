"""`k_center`: the image farthest from all labelled ones, again and again."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fmsel.selection.coverage.kernels import ROUNDING
from fmsel.selection.geometry.farthest import Farthest
from fmsel.selection.geometry.points import population_directions
from fmsel.selection.pool import Eligible, Evidence, IntArray, LabelUse, Pool, Strategy


@dataclass(frozen=True)
class KCenter(Strategy):
    """Greedy k-center (Gonzalez 1985), called coreset in active learning (Sener and Savarese,
    "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018).

    With the features of a run, between rounds, it is their method. The largest distance of an image
    to its nearest labelled one is at most twice the least possible. Distances are between features
    of length 1; where no image is held, the one nearest the mean comes first.
    """

    LABEL_USE: ClassVar[LabelUse] = "none"
    NEEDS: ClassVar[tuple[Evidence, ...]] = ("features",)

    def _pick(self, pool: Pool, batch_size: int, seed: int) -> IntArray:
        points, images, eligible = population_directions(pool)[:], pool.population, Eligible(pool)
        choice = Farthest(points, images, eligible)
        if len(pool.held):
            choice.hold(np.searchsorted(images, pool.held).tolist())
        else:
            toward_mean = points @ points.mean(axis=0)
            toward_mean[~eligible.mask[images]] = -np.inf
            choice.take(int(np.argmax(toward_mean >= toward_mean.max() - ROUNDING)))
        choice.grow(batch_size)
        return np.asarray(images[choice.picks])
