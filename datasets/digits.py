"""`digits`: 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn; no download.

Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test part). The
set has no test part of its own: a stratified fifth is held out by a cut of seed 0.
"""

import numpy as np
from sklearn.datasets import load_digits

from fmsel.datasets.images.cut import stratified_cut
from fmsel.datasets.images.dataset import ImageDataset
from fmsel.datasets.images.request import Request

HELD_OUT = 0.2  # share of each class
WHITE = 16  # largest grey value in scikit-learn's copy


def load(request: Request) -> ImageDataset:
    """One part of the digits; an id is the index in scikit-learn's order."""
    digits = load_digits()
    labels = digits.target.astype(np.int64)
    held_out = stratified_cut(labels, HELD_OUT, seed=0)
    chosen = np.flatnonzero(held_out == (request.part == "test"))
    grey = np.rint(digits.images[chosen] * (255 / WHITE)).astype(np.uint8)
    images = np.repeat(grey[..., None], 3, axis=3)
    # a mirrored digit is no digit
    return request.answer(
        images, labels[chosen], chosen, [str(name) for name in digits.target_names], flip=False
    )
