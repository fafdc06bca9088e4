"""Names, sources, digits and the published index sets."""

import dataclasses
import importlib
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from fmsel.datasets import ImageDataset, Source, WeakAugment, dataset_names, load_dataset
from fmsel.datasets.images.cut import stratified_cut
from fmsel.datasets.published.fixmatch_ordered import SETS
from fmsel.errors import ArtefactError, DataError, OptionError


def test_names_are_the_plain_modules_and_each_can_load() -> None:
    assert set(dataset_names()) == {"cifar10", "cifar100", "digits", "stl10", "svhn"}
    for name in (*dataset_names(), "folder"):
        assert callable(importlib.import_module(f"fmsel.datasets.{name}").load)


@given(
    dataset=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    resize=st.none() | st.integers(8, 99),
    fraction=st.sampled_from([0.1, 0.3]),
)
def test_a_source_can_be_typed_again(dataset: str, resize: int | None, fraction: float) -> None:
    source = Source(dataset=dataset, data_root="/a b", resize=resize, eval_fraction=fraction)
    words = shlex.split(source.arguments())
    assert words[:3] == [dataset, "--data-root", "/a b"]
    assert ("--resize" in words) == (resize is not None)
    assert ("--eval-fraction" in words) == (fraction == 0.3)
    assert Source(dataset="digits").arguments() == "digits"


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, fmsel.datasets as d; d.dataset_names();"
        "print({'torch', 'torchvision', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_digits_are_scikit_learns_in_two_parts() -> None:
    digits = load_digits()
    train, test = load_dataset("digits"), load_dataset("digits", "test")
    rows = np.concatenate([train.ids, test.ids]).astype(int)
    assert sorted(rows) == list(range(1797))
    assert len(test) == round(1797 * 0.2)
    for part in (train, test):
        chosen = part.ids.astype(int)
        assert (np.diff(chosen) > 0).all()
        np.testing.assert_array_equal(part.labels, digits.target[chosen])
        for channel in range(3):
            np.testing.assert_allclose(
                part.images[..., channel], digits.images[chosen] * 255 / 16, atol=0.5
            )
        assert part.weak == WeakAugment(flip=False, shift=1)
        assert part.class_names == tuple("0123456789")
        assert part.labelled


def test_the_same_data_has_the_same_fingerprint_and_parts_differ() -> None:
    one, two, test = load_dataset("digits"), load_dataset("digits"), load_dataset("digits", "test")
    assert one.describe() == two.describe()
    assert one.images_sha256 != test.images_sha256


def test_resize_is_pillows_bicubic() -> None:
    small, large = load_dataset("digits"), load_dataset("digits", resize=16)
    assert large.images.shape == (len(small), 16, 16, 3)
    assert large.weak.shift == 2
    expected = Image.fromarray(small.images[5]).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(large.images[5], np.asarray(expected))


def test_a_source_loads_exactly_what_it_came_from() -> None:
    data = load_dataset("digits", resize=12)
    again = load_dataset(Source.from_dict(data.source.as_dict()))
    assert again.describe() == data.describe()


def test_images_and_labels_cannot_be_written() -> None:
    data = load_dataset("digits")
    with pytest.raises(ValueError, match="read-only"):
        data.images[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        data.labels[0] = 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar-10", "unknown data set 'cifar-10', did you mean cifar10"),
        ("Digits", "did you mean digits"),
        ("zzz", "unknown data set 'zzz'; the built-in ones are cifar10, .*image folder"),
        ("folder", "unknown data set 'folder'"),
    ],
)
def test_unknown_names_are_answered_with_the_known_ones(name: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load_dataset(name)
    with pytest.raises(OptionError, match=f"unknown data set '{name}'"):
        load_dataset(Source(dataset=name))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_eval_fraction_must_be_a_share(share: float) -> None:
    with pytest.raises(OptionError, match=f"eval_fraction {share} must be between 0 and 1"):
        load_dataset("digits", eval_fraction=share)


def test_other_options_out_of_range() -> None:
    with pytest.raises(OptionError, match="resize 0 must be a number of pixels"):
        load_dataset("digits", resize=0)
    with pytest.raises(OptionError, match="part 'val' must be train or test"):
        load_dataset("digits", "val")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"\./x is its own root; leave out --data-root /y"):
        load_dataset("./x", data_root="/y")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "dataset"),
        ({"dataset": "digits", "colour": 1}, "colour"),
        ({"dataset": 3}, "dataset cannot be 3"),
        ({"dataset": "digits", "resize": "big"}, "resize cannot be 'big'"),
    ],
)
def test_a_broken_source_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ArtefactError, match=message):
        Source.from_dict(values)


LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=200)


@given(labels=LABELS, fraction=st.floats(0.01, 0.99), cut_seed=st.integers(0, 99))
def test_a_stratified_cut_is_within_one_image_of_each_share(
    labels: list[int], fraction: float, cut_seed: int
) -> None:
    array = np.array(labels, dtype=np.int64)
    held_out = stratified_cut(array, fraction, cut_seed)
    np.testing.assert_array_equal(held_out, stratified_cut(array, fraction, cut_seed))
    for label in set(labels):
        members = held_out[array == label]
        assert abs(members.sum() - fraction * len(members)) <= 1
        assert not members.all()
    counts = np.bincount(array)
    most = np.minimum(np.ceil(counts * fraction), np.maximum(counts - 1, 0)).sum()
    assert held_out.sum() == min(max(1, round(fraction * len(labels))), most)


def test_a_stratified_cut_by_hand(seed: int) -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 21])
    held_out = stratified_cut(labels, 0.1, seed)
    assert [int(held_out[labels == label].sum()) for label in range(3)] == [5, 3, 2]
    assert (held_out != stratified_cut(labels, 0.1, seed + 1)).any()


def test_a_new_class_leaves_the_cut_of_the_others() -> None:
    old = np.repeat([0, 1], 40)
    new = np.repeat([0, 1, 2], 40)
    np.testing.assert_array_equal(stratified_cut(new, 0.25, 0)[:80], stratified_cut(old, 0.25, 0))


def test_published_sets_hold_each_class_once_and_no_image_twice() -> None:
    assert SETS.indices.shape == SETS.labels.shape == (8, 10)
    assert len(SETS.names) == 8
    assert len(np.unique(SETS.indices)) == 80
    assert SETS.indices.min() >= 0
    assert SETS.indices.max() < SETS.n
    np.testing.assert_array_equal(np.sort(SETS.labels, axis=1), np.tile(np.arange(10), (8, 1)))


def test_published_sets_match_by_name_size_part_and_labels() -> None:
    data = _blank(np.arange(12) % 3)
    sets = dataclasses.replace(SETS, n=12, labels_sha256=data.labels_sha256)
    assert sets.matches(data)
    assert not SETS.matches(data)
    assert not sets.matches(dataclasses.replace(data, name="cifar100"))
    assert not sets.matches(dataclasses.replace(data, part="test"))
    assert not sets.matches(_blank(np.arange(12)[::-1] % 3))


def _blank(labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> ImageDataset:
    return ImageDataset(
        name="cifar10",
        source=Source(dataset="cifar10"),
        part="train",
        images=np.zeros((len(labels), 4, 4, 3), dtype=np.uint8),
        labels=labels.copy(),
        ids=np.arange(len(labels)).astype(np.str_),
        class_names=("a", "b", "c"),
        weak=WeakAugment(),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((12, 4, 4), dtype=np.uint8)}, r"got uint8 of shape \(12, 4, 4\)"),
        ({"images": np.zeros((12, 4, 4, 3))}, "got float64"),
        ({"labels": np.zeros(3, dtype=np.int64)}, "12 images need as many labels"),
        ({"labels": np.full(12, 7)}, r"in 0\.\.2, got 7\.\.7"),
        ({"labels": np.full(12, -2)}, r"got -2\.\.-2"),
    ],
)
def test_arrays_that_make_no_data_set(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataclasses.replace(_blank(np.arange(12) % 3), **changes)  # type: ignore[arg-type]


def test_a_folder_of_a_built_in_name_needs_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("digits")) == 1438
    with pytest.raises(DataError, match="digits holds no images"):
        load_dataset("./digits")
