"""Check what a run starts from, and put it on the device."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError, DataError, OptionError
from fmsel.fixmatch.config import FixMatchConfig, parse_prior
from fmsel.selection.split import Split


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The tensors of one run, all on its device.

    Attributes:
        images: (N, 3, H, W) uint8, the train part; all of it is the unlabelled set.
        truth: (N,) int64, the data set's labels, -1 where unknown; only measured against.
        chosen: (M,) int64, positions of the labelled images.
        labels: (M,) int64, what the run learns from.
        test_images: (T, 3, H, W) uint8, the labelled images of the test part; T may be 0.
        test_labels: (T,) int64.
        n_classes: C.
    """

    images: Tensor
    truth: Tensor
    chosen: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    n_classes: int


def prepare_inputs(
    split: Split, data: ImageDataset, test: ImageDataset | None, device: torch.device
) -> Inputs:
    """Validate and move to `device`.

    Raises:
        ArtefactError: the split does not belong to `data`, or gives an image no label.
        DataError: images that are not square, or a test part of another size.
    """
    split.check(data, "the split")
    labels = _checked_labels(split, data)
    check_sizes(data, test)
    known = np.flatnonzero(test.labels >= 0) if test is not None else np.empty(0, dtype=np.int64)
    tested = test if test is not None else data
    return Inputs(
        images=_pixels(data.images, device),
        truth=torch.tensor(data.labels, device=device),
        chosen=torch.tensor(split.index_array, device=device),
        labels=torch.tensor(labels, device=device),
        test_images=_pixels(tested.images[known], device),
        test_labels=torch.tensor(tested.labels[known], device=device),
        n_classes=data.n_classes,
    )


def check_labels(split: Split, data: ImageDataset, config: FixMatchConfig) -> None:
    """Refuse a split that cannot be trained on, before any run starts.

    Raises:
        ArtefactError: it does not belong to `data`, or gives an image no label.
        OptionError: its labels do not fit the configured prior.
    """
    split.check(data, "the split")
    labels = torch.from_numpy(_checked_labels(split, data))
    class_prior(config.prior, labels, data.n_classes)


def class_prior(
    prior: str | None, labels: Tensor, n_classes: int
) -> npt.NDArray[np.float32] | None:
    """The configured class shares, (C,) summing to 1; None is the rule's own default.

    Args:
        prior: of the configuration.
        labels: (M,) int64 of the labelled images, on any device; read only for "labelled".
        n_classes: C.
    Raises:
        OptionError: not one share a class, or the split has no image of some class.
    """
    shares = parse_prior(prior)
    if shares is None:
        return None
    if shares == "uniform":
        shares = (1.0,) * n_classes
    elif shares == "labelled":
        counts = np.bincount(labels.cpu().numpy(), minlength=n_classes)
        if not counts.all():
            raise OptionError(
                "prior 'labelled' needs an image of every class among the labelled ones, and "
                f"{int((counts == 0).sum())} of {n_classes} classes have none; use uniform or "
                "numbers"
            )
        shares = tuple(map(float, counts))
    elif len(shares) != n_classes:
        raise OptionError(
            f"prior has {len(shares)} shares, but the data set has {n_classes} classes"
        )
    given = np.array(shares, dtype=np.float32)
    return np.asarray(given / given.sum())


def _checked_labels(split: Split, data: ImageDataset) -> npt.NDArray[np.int64]:
    labels = split.given_labels(data)
    if (labels < 0).any():
        first = split.indices[int(np.flatnonzero(labels < 0)[0])]
        raise ArtefactError(
            f"{int((labels < 0).sum())} of the split's {len(split)} images have no label yet "
            f"(the first is image {first} of {data.name}); write them out with `fmsel labels "
            "export`, and read people's answers with `fmsel labels import`, where "
            "--drop-unlabelled leaves out those that nobody can label"
        )
    if len(np.unique(labels)) < 2:
        raise ArtefactError(
            f"all {len(split)} images of the split are of one class; at least two are needed"
        )
    return labels


def check_sizes(data: ImageDataset, test: ImageDataset | None) -> None:
    """DataError for images that are not square, and for a test part of another size."""
    height, width = data.images.shape[1:3]
    if height != width:
        raise DataError(
            f"{data.name} has images of {height} x {width} pixels; training needs square ones, "
            "so crop or resize them"
        )
    if test is not None and len(test) and test.images.shape[1:3] != (height, width):
        raise DataError(
            f"the test part of {test.name} has images of {test.images.shape[1]} x "
            f"{test.images.shape[2]} pixels, the train part of {height} x {width}"
        )


def _pixels(images: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """(N, H, W, 3) -> (N, 3, H, W) on the device."""
    return torch.tensor(images, device=device).permute(0, 3, 1, 2).contiguous()
