"""`svhn`: house numbers, 73,257 + 26,032 images of 32 x 32 pixels (Netzer et al., 2011).

The train part is the plain training set, without the 531,131 extra images.
"""

import numpy as np

from fmsel.datasets.images.dataset import ImageDataset
from fmsel.datasets.images.fetch import Archive, fetch
from fmsel.datasets.images.request import Request


def load(request: Request) -> ImageDataset:
    """One part; the label is the digit. DataError where it cannot be found or fetched."""
    from torchvision.datasets import SVHN

    url, name, md5 = SVHN.split_list[request.part]
    data = fetch(
        request,
        Archive(name=name, url=url, md5=md5),
        lambda root, load: SVHN(root, split=request.part, download=load),
    )
    images = data.data.transpose(0, 2, 3, 1)  # (N, 3, 32, 32) -> (N, 32, 32, 3)
    names = [str(digit) for digit in range(10)]
    # a mirrored digit is no digit
    return request.answer(images, data.labels, np.arange(len(images)), names, flip=False)
