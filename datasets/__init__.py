"""Images and labels in, one frozen type out.

Every plain module here is one data set, named by its file; the sub-packages are machinery.
"""

from fmsel.datasets.images import ImageDataset, Part, Source, WeakAugment
from fmsel.datasets.images.load import dataset_names, load_dataset

__all__ = ["ImageDataset", "Part", "Source", "WeakAugment", "dataset_names", "load_dataset"]
