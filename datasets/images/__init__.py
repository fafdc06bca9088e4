"""The frozen image data set that every later step reads, and the cache of decoded images."""

from fmsel.datasets.images.dataset import ImageDataset, Part, Source, WeakAugment

__all__ = ["ImageDataset", "Part", "Source", "WeakAugment"]
