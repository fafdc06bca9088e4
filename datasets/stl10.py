"""`stl10`: 5,000 + 8,000 labelled images of 96 x 96 pixels, 10 classes (Coates et al., 2011).

The train part is the 5,000 labelled images (138 MB in memory). The 100,000 unlabelled ones are
left out: they would take 2.9 GB, and no score or split that reads labels could be made over them.
So accuracies here are not those of FixMatch's Table 2, which trains on all 105,000. The archive
that torchvision fetches (2.6 GB) holds both.
"""

import numpy as np

from fmsel.datasets.images.dataset import ImageDataset
from fmsel.datasets.images.fetch import Archive, fetch
from fmsel.datasets.images.request import Request


def load(request: Request) -> ImageDataset:
    """One part; DataError where it cannot be found or fetched."""
    from torchvision.datasets import STL10

    data = fetch(
        request,
        Archive(name=STL10.filename, url=STL10.url, md5=STL10.tgz_md5),
        lambda root, load: STL10(root, split=request.part, download=load),
    )
    images = data.data.transpose(0, 2, 3, 1)  # (N, 3, 96, 96) -> (N, 96, 96, 3)
    return request.answer(images, data.labels, np.arange(len(images)), data.classes, flip=True)
