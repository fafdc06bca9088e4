"""`load_dataset`: a data set by name, by folder, or by the source in an artefact."""

import difflib
import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fmsel.datasets.images.dataset import ImageDataset, Part, Source
from fmsel.datasets.images.request import Request
from fmsel.errors import OptionError

FOLDER = "folder"  # the module that reads any image folder: a kind of data set, not a name


def dataset_names() -> tuple[str, ...]:
    """Names of the built-in data sets: the plain modules in `fmsel.datasets`."""
    package = importlib.import_module("fmsel.datasets")
    found = (each.name for each in pkgutil.iter_modules(package.__path__) if not each.ispkg)
    return tuple(name for name in found if name != FOLDER)


def load_dataset(
    dataset: str | Source,
    part: Part = "train",
    *,
    data_root: Path | str | None = None,
    resize: int | None = None,
    eval_fraction: float = 0.1,
    offline: bool = False,
) -> ImageDataset:
    """Load one part of a data set.

    Args:
        dataset: a built-in name; or the path of an image folder (`./digits` where a folder has the
            name of a built-in data set); or an artefact's source, which fixes all but `data_root`.
        part: "train" or "test". The test part of an unlabelled folder that has none is empty.
        data_root: where the files of a built-in data set lie or go; with the source of an image
            folder, where that folder is now.
        resize: make every image this many pixels square.
        eval_fraction: in (0, 1), the share held out as test part where a folder has none.
        offline: never use the network.
    Raises:
        OptionError: an unknown name, or a value out of its range.
        DataError: images that are missing or cannot be used.
    """
    if isinstance(dataset, Source):
        source = _moved(dataset, data_root)
    else:
        source = _named(dataset, data_root, resize, eval_fraction)
    _check(source, part)
    module = source.dataset if source.dataset in dataset_names() else FOLDER
    load: Callable[[Request], ImageDataset] = importlib.import_module(
        f"fmsel.datasets.{module}"
    ).load
    return load(Request(source=source, part=part, offline=offline))


def _named(name: str, data_root: Path | str | None, resize: int | None, share: float) -> Source:
    if name in dataset_names():
        root = _absolute(data_root) if data_root is not None else None
        return Source(dataset=name, data_root=root, resize=resize, eval_fraction=share)
    if not _is_path(name):
        raise OptionError(_unknown(name))
    if data_root is not None:
        raise OptionError(
            f"the image folder {name} is its own root; leave out --data-root {data_root}"
        )
    return Source(dataset=_absolute(name), resize=resize, eval_fraction=share)


def _moved(source: Source, data_root: Path | str | None) -> Source:
    if source.dataset not in dataset_names() and not _is_path(source.dataset):
        raise OptionError(_unknown(source.dataset))
    if data_root is None:
        return source
    root = _absolute(data_root)
    if source.dataset in dataset_names():
        return replace(source, data_root=root)
    return replace(source, dataset=root)


def _check(source: Source, part: str) -> None:
    if part not in ("train", "test"):
        raise OptionError(f"part {part!r} must be train or test")
    if source.resize is not None and source.resize < 1:
        raise OptionError(f"resize {source.resize} must be a number of pixels, 1 or more")
    if not 0 < source.eval_fraction < 1:
        raise OptionError(f"eval_fraction {source.eval_fraction} must be between 0 and 1")


def _is_path(name: str) -> bool:
    return name.startswith((".", "~")) or "/" in name or os.sep in name or Path(name).is_dir()


def _absolute(path: Path | str) -> str:
    return str(Path(path).expanduser().resolve())


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), dataset_names(), n=1)
    guess = f", did you mean {close[0]}" if close else ""
    return (
        f"unknown data set {name!r}{guess}; the built-in ones are {', '.join(dataset_names())}, "
        "and the path of an image folder, such as ./photos, works too"
    )
