"""CIFAR-10 from image files named by their index, on a small tree of the same layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmsel.datasets import Part, WeakAugment, load_dataset
from fmsel.datasets.cifar10 import CLASSES
from fmsel.errors import DataError

# of the train part, class by index; unsorted, and each class at least once
LABELS = [6, 9, 9, 4, 1, 1, 2, 7, 8, 3, 4, 7, 0, 5]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for part, labels in (("train", LABELS), ("test", LABELS[::-1])):
        for index, label in enumerate(labels):
            folder = tmp_path / part / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            suffix = "png" if index % 2 else "bmp"
            Image.fromarray(_pixels(index, part)).save(folder / f"{index:05d}.{suffix}")
    return tmp_path


def _pixels(index: int, part: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    rng = np.random.default_rng([index, len(part)])
    return rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_class_order_is_torchvisions() -> None:
    # the order of the label names in the original archive's batches.meta
    assert sorted(CLASSES) == list(CLASSES)
    assert len(CLASSES) == 10


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("nested", [False, True])
def test_files_are_read_in_index_order(tree: Path, part: Part, nested: bool) -> None:
    if nested:
        (tree / "cifar10").mkdir()
        for each in ("train", "test"):
            (tree / each).rename(tree / "cifar10" / each)
    data = load_dataset("cifar10", part, data_root=tree, offline=True)
    assert data.labels.tolist() == (LABELS if part == "train" else LABELS[::-1])
    assert data.ids.tolist() == [str(index) for index in range(len(LABELS))]
    for index in range(len(LABELS)):
        np.testing.assert_array_equal(data.images[index], _pixels(index, part))
    assert data.name == "cifar10"
    assert data.class_names == CLASSES
    assert data.weak == WeakAugment(flip=True, shift=4)
    assert data.source.data_root == str(tree)


def test_a_source_finds_the_files_again_and_data_root_moves_it(tree: Path, tmp_path: Path) -> None:
    data = load_dataset("cifar10", data_root=tree)
    assert load_dataset(data.source).describe() == data.describe()
    moved = tmp_path / "moved"
    moved.mkdir()
    (tree / "train").rename(moved / "train")
    assert load_dataset(data.source, data_root=moved).images_sha256 == data.images_sha256


def test_a_gap_is_named(tree: Path) -> None:
    (tree / "train" / "bird" / "00006.bmp").rename(tree / "train" / "bird" / "00020.bmp")
    with pytest.raises(DataError, match=r"train lacks index 6 \(its 14 images go up to 20\)"):
        load_dataset("cifar10", data_root=tree)


def test_a_repeat_is_named(tree: Path) -> None:
    bird, frog = tree / "train" / "bird" / "00006.bmp", tree / "train" / "frog" / "6.bmp"
    frog.write_bytes(bird.read_bytes())
    with pytest.raises(DataError, match=r"index 6 twice, as bird/00006.bmp and frog/6.bmp"):
        load_dataset("cifar10", data_root=tree)


def test_a_name_that_is_no_index_is_named(tree: Path) -> None:
    (tree / "train" / "bird" / "00006.bmp").rename(tree / "train" / "bird" / "six.bmp")
    with pytest.raises(DataError, match=r"bird/six.bmp must be named by its index"):
        load_dataset("cifar10", data_root=tree)


def test_class_folders_must_be_the_ten(tree: Path) -> None:
    (tree / "train" / "plane").mkdir()
    with pytest.raises(DataError, match="also holds plane"):
        load_dataset("cifar10", data_root=tree)
    (tree / "train" / "plane").rmdir()
    (tree / "train" / "bird").rename(tree / "bird")
    with pytest.raises(DataError, match="lacks bird"):
        load_dataset("cifar10", data_root=tree)


def test_empty_class_folders_and_a_missing_part(tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / "train" / name).mkdir(parents=True)
    with pytest.raises(DataError, match="train holds no images"):
        load_dataset("cifar10", data_root=tmp_path)
    with pytest.raises(DataError, match="test cannot be read"):
        load_dataset("cifar10", "test", data_root=tmp_path)
