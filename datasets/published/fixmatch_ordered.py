"""The eight 10-label sets of CIFAR-10 that the FixMatch authors ordered by prototypicality.

FixMatch (Sohn et al., 2020, section 4.4) trains on one image a class, chosen by the ordering of
Carlini, Erlingsson and Papernot (2019): set 0 holds the outliers, set 7 the prototypes.
"""

import numpy as np

from fmsel.datasets.published import PublishedSets

INDICES = np.array(
    [
        [7408, 8148, 9850, 10361, 33949, 36506, 37018, 45044, 46443, 47447],
        [5022, 8193, 8902, 9601, 25226, 26223, 34089, 35186, 40595, 48024],
        [7510, 13186, 14043, 21305, 22805, 31288, 34508, 40470, 41493, 45506],
        [9915, 9978, 16631, 19915, 28008, 35314, 35801, 36149, 39215, 42557],
        [6695, 14891, 19726, 22715, 23999, 34230, 46511, 47457, 49181, 49397],
        [12830, 20293, 26835, 30517, 30898, 31061, 43693, 46501, 47310, 48517],
        [1156, 11501, 19974, 21963, 32103, 42189, 46789, 47690, 48229, 48675],
        [4255, 6446, 8580, 11759, 12598, 29349, 29433, 33759, 35345, 38639],
    ],
    dtype=np.int64,
)  # (8, 10)

LABELS = np.array(
    [
        [1, 2, 6, 8, 7, 0, 4, 9, 3, 5],
        [6, 3, 5, 9, 7, 2, 8, 4, 1, 0],
        [5, 4, 6, 0, 9, 1, 2, 8, 3, 7],
        [4, 6, 9, 2, 1, 3, 5, 0, 7, 8],
        [7, 8, 3, 5, 0, 6, 4, 1, 9, 2],
        [8, 6, 7, 0, 9, 4, 5, 2, 1, 3],
        [5, 8, 0, 7, 2, 3, 4, 9, 6, 1],
        [5, 1, 7, 4, 3, 9, 2, 6, 8, 0],
    ],
    dtype=np.int64,
)  # (8, 10), CIFAR-10's own, in the order of INDICES

for _array in (INDICES, LABELS):
    _array.flags.writeable = False

SETS = PublishedSets(
    dataset="cifar10",
    n=50_000,
    labels_sha256="f3eca90f353f9ae29daca343e949b1802bde4fd1733bf70f78b9da4b2765ebb4",
    names=tuple(str(number) for number in range(8)),
    indices=INDICES,
    labels=LABELS,
    citation="Carlini, comment in google-research/fixmatch issue 16",
    url="https://github.com/google-research/fixmatch/issues/16",
)
