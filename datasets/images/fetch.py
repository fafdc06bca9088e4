"""Data sets that torchvision reads: found on disk or downloaded, checked by md5."""

import contextlib
import http.client
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmsel.datasets.images.dataset import ImageDataset
from fmsel.datasets.images.request import Request
from fmsel.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The one file that is downloaded."""

    name: str
    url: str
    md5: str


def fetch(request: Request, archive: Archive, open_part: Callable[[str, bool], Any]) -> Any:
    """The torchvision data set, downloaded into `request.root` where it is not there yet.

    Args:
        request: names the folder, and whether the network may be used.
        archive: what is downloaded; a copy in the folder is unpacked without any network.
        open_part: `(root, download) -> torchvision data set`, which checks the md5 itself.
    Raises:
        DataError: it is not there and cannot be fetched.
    """
    from torchvision.datasets.utils import check_integrity

    root = request.root
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torchvision reports on stdout
            with contextlib.suppress(RuntimeError):  # not found, or of another md5
                return open_part(str(root), False)
            if request.offline and not check_integrity(str(root / archive.name), archive.md5):
                raise DataError(_advice(request, archive, "was not found", ", or drop --offline"))
            return open_part(str(root), True)
    except (OSError, RuntimeError, EOFError, tarfile.TarError, http.client.HTTPException) as error:
        what = f"could not be fetched ({error})"
        raise DataError(_advice(request, archive, what)) from error


def _advice(request: Request, archive: Archive, what: str, otherwise: str = "") -> str:
    return (
        f"the data set {request.source.dataset} {what} in {request.root}; put {archive.name} from "
        f"{archive.url} there, or name the folder that holds it with --data-root{otherwise}"
    )


def load_cifar(request: Request, torchvision_class: str) -> ImageDataset:
    """CIFAR-10 or CIFAR-100 through torchvision's class of that name.

    Raises:
        DataError: as `fetch`.
    """
    import torchvision.datasets

    cls = getattr(torchvision.datasets, torchvision_class)
    archive = Archive(name=cls.filename, url=cls.url, md5=cls.tgz_md5)
    train = request.part == "train"
    data = fetch(request, archive, lambda root, load: cls(root, train=train, download=load))
    ids = np.arange(len(data.data))
    return request.answer(data.data, data.targets, ids, data.classes, flip=True)
