"""Bare index lists of other code bases, read as a `Split` and written from one.

- npy, `*.npy`: (M,) integers; USB's `lb_labels…_idx.npy` is one of these.
- txt, `*.txt`: one integer a line.
- fixmatch, `*.json`: `{"distribution": class sizes over the largest, "label": sorted indices}`.
- usb, a folder: `lb_labels<M>_1_seed<S>_idx.npy` and its twin `ulb_…` of all other images.

All hold positions in the data set's original order, which is torchvision's. TensorFlow Datasets
has an order of its own: lists counted in it name other images, and nothing in them tells.

Sources: google-research/fixmatch, scripts/create_split.py; microsoft/Semi-supervised-learning,
semilearn/datasets/utils.py, sample_labeled_unlabeled_data.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from fmsel.artefacts import atomic_path, check_output, sha256_file, write_text
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError, DataError, OptionError
from fmsel.selection.pool import IntArray
from fmsel.selection.split.artefact import Split, class_counts

Format = Literal["npy", "txt", "fixmatch", "usb"]
SUFFIXES: dict[str, Format] = {".npy": "npy", ".txt": "txt", ".json": "fixmatch"}


def pick_format(path: Path, named: str | None = None) -> Format:
    """The format `named`, or that of the file's suffix; OptionError names the formats."""
    if named is None and path.suffix in SUFFIXES:
        return SUFFIXES[path.suffix]
    if named in get_args(Format):
        return cast(Format, named)
    wrong = f"the suffix of {path}" if named is None else repr(named)
    raise OptionError(
        f"{wrong} is no format of an index list; pass --format with one of "
        f"{', '.join(get_args(Format))}"
    )


def import_split(path: Path, data: ImageDataset, format: str | None = None) -> Split:
    """Read a bare index list as a split of `data`, in the list's order.

    Raises:
        ArtefactError: unreadable, or an index is repeated, out of range or no integer.
        OptionError: unknown format.
    """
    kind = pick_format(path, format)
    indices = _read(path, kind)
    split = Split(
        dataset=data.name,
        source=data.source.as_dict(),
        n=len(data),
        images_sha256=data.images_sha256,
        labels_sha256=data.labels_sha256,
        strategy="imported",
        parameters={},
        seed=0,
        indices=indices,
        label_use="unknown",
        class_counts={},
        provenance={"file": path.name, "format": kind, "sha256": sha256_file(path)},
    )
    split.validate(str(path))
    return replace(split, class_counts=class_counts(data, split.index_array))


def _read(path: Path, kind: Format) -> list[Any]:
    try:
        if kind == "txt":
            return [int(line) for line in path.read_text(encoding="utf-8").split()]
        if kind == "fixmatch":
            return list(json.loads(path.read_text(encoding="utf-8"))["label"])
        values = np.load(path, allow_pickle=False)
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise ArtefactError(f"{path} is not an index list of format {kind} ({error})") from error
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ArtefactError(
            f"{path} must hold a one-dimensional array of integers, "
            f"got {values.dtype} of shape {values.shape}"
        )
    return list(values.tolist())


def export_split(
    split: Split,
    to: Path,
    data: ImageDataset | None = None,
    format: str | None = None,
    force: bool = False,
) -> list[Path]:
    """Write the indices for other code bases; returns the files written.

    Args:
        to: the file or, for format "usb", the folder.
        data: the split's images; only format "fixmatch", which tells the class sizes, needs them.
    Raises:
        DataError: format "fixmatch" without labels.
        OptionError, OutputError: unknown format; an output that exists or cannot be written.
    """
    kind = pick_format(to, format)
    if kind == "usb":
        return _write_usb(split, to, force)
    if kind == "fixmatch":
        record = {"distribution": _distribution(data), "label": sorted(split.indices)}
        write_text(to, json.dumps(record, indent=2, sort_keys=True), force)
    elif kind == "txt":
        write_text(to, "".join(f"{index}\n" for index in split.indices), force)
    else:
        _write_npy(split.index_array, to, force)
    return [to]


def _distribution(data: ImageDataset | None) -> list[float]:
    """(C,) class sizes over the largest one, as create_split.py computes them."""
    if data is None or not data.labelled:
        raise DataError("format fixmatch tells the class sizes, so it needs a labelled data set")
    sizes = np.bincount(data.labels, minlength=data.n_classes)
    return [float(share) for share in sizes / sizes.max()]


def _write_usb(split: Split, folder: Path, force: bool) -> list[Path]:
    """The pair, which USB reads only together; the second holds all images but the first's."""
    rest = np.setdiff1d(np.arange(split.n, dtype=np.int64), split.index_array)
    name = f"labels{len(split)}_1_seed{split.seed}_idx.npy"
    written = {folder / f"lb_{name}": split.index_array, folder / f"ulb_{name}": rest}
    for path in written:
        check_output(path, force)
    for path, indices in written.items():
        _write_npy(indices, path, force)
    return list(written)


def _write_npy(indices: IntArray, path: Path, force: bool) -> None:
    with atomic_path(path, force) as temporary, temporary.open("wb") as file:
        np.save(file, indices)
