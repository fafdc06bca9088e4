"""`cifar100`: 50,000 + 10,000 images of 32 x 32 pixels, 100 classes (Krizhevsky, 2009)."""

from fmsel.datasets.images.dataset import ImageDataset
from fmsel.datasets.images.fetch import load_cifar
from fmsel.datasets.images.request import Request


def load(request: Request) -> ImageDataset:
    """One part, with the 100 fine labels; DataError where it cannot be found or fetched."""
    return load_cifar(request, "CIFAR100")
