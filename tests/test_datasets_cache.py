"""Decoding once: the second load reads the cache, and only while every file is the same."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fmsel.artefacts import cache_dir, sha256_array
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.datasets.images import cache, decode
from fmsel.datasets.images.files import ImageFile

FILES = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    root.mkdir()
    for number in range(FILES):
        _save(root / f"{number}.png", number)
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of the decoder was given."""
    calls: list[int] = []

    def counted(
        root: Path, files: Sequence[ImageFile], resize: int | None, name: str
    ) -> npt.NDArray[np.uint8]:
        calls.append(len(files))
        return decode.decode(root, files, resize, name)

    monkeypatch.setattr(cache, "decode", counted)
    return calls


def _save(path: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _load(folder: Path, resize: int | None = None) -> ImageDataset:
    return load_dataset(str(folder), resize=resize)


def _cached() -> list[Path]:
    return sorted((cache_dir() / "decoded").glob("*.npy"))


def test_the_second_load_decodes_nothing_and_is_identical(folder: Path, decoded: list[int]) -> None:
    first, second = _load(folder), _load(folder)
    assert decoded == [FILES]
    np.testing.assert_array_equal(first.images, second.images)
    assert first.describe() == second.describe()
    assert second.images_sha256 == sha256_array(second.images)
    assert not second.images.flags.writeable


def test_each_resize_and_each_folder_is_cached_by_itself(
    folder: Path, tmp_path: Path, decoded: list[int]
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for number in range(FILES):  # same names, sizes and times, other pixels
        source, target = folder / f"{number}.png", copy / f"{number}.bmp"
        Image.open(source).transpose(Image.Transpose.ROTATE_90).save(target)
        Image.open(source).save(source.with_suffix(".bmp"))
        source.unlink()
        for each in (target, source.with_suffix(".bmp")):
            os.utime(each, ns=(10**18, 10**18))
    _load(folder)
    _load(folder, resize=4)
    other = _load(copy)
    assert decoded == [FILES] * 3
    np.testing.assert_array_equal(other.images, np.rot90(_load(folder).images, axes=(1, 2)))


def test_a_changed_file_is_decoded_again(folder: Path, decoded: list[int]) -> None:
    before = _load(folder)
    _save(folder / "3.png", 99)
    after = _load(folder)
    assert decoded == [FILES] * 2
    same = [row for row in range(FILES) if (before.images[row] == after.images[row]).all()]
    assert same == [0, 1, 2, 4, 5]


def test_a_new_time_alone_is_a_change(folder: Path, decoded: list[int]) -> None:
    _load(folder)
    stat = (folder / "3.png").stat()
    os.utime(folder / "3.png", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    _load(folder)
    assert decoded == [FILES] * 2


def test_a_new_size_alone_is_a_change(folder: Path, decoded: list[int]) -> None:
    _load(folder)
    stat = (folder / "3.png").stat()
    with (folder / "3.png").open("ab") as file:
        file.write(b"trailing bytes that PNG readers skip")
    os.utime(folder / "3.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    _load(folder)
    assert decoded == [FILES] * 2


def test_a_new_and_a_removed_file_are_changes(folder: Path, decoded: list[int]) -> None:
    _load(folder)
    _save(folder / "new.png", 50)
    assert len(_load(folder)) == FILES + 1
    (folder / "0.png").unlink()
    assert len(_load(folder)) == FILES
    assert decoded == [FILES, FILES + 1, FILES]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "no hash", "other hash"])
def test_a_broken_cache_is_decoded_again_and_mended(
    folder: Path, decoded: list[int], damage: str
) -> None:
    before = _load(folder)
    (path,) = _cached()
    whole = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(whole[:-100])
    elif damage == "flip":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no hash":
        path.with_suffix(".sha256").unlink()
    else:
        path.with_suffix(".sha256").write_text("0" * 64)
    after = _load(folder)
    np.testing.assert_array_equal(before.images, after.images)
    assert after.images_sha256 == before.images_sha256
    _load(folder)
    assert decoded == [FILES] * 2


def test_a_cache_that_cannot_be_written_only_warns(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FMSEL_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"cannot be kept, .* cannot write to .*file/decoded"):
        data = _load(folder)
    assert len(data) == FILES


def test_an_interrupted_decoding_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(decode, "_decode_row", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _load(folder)
    assert not any(cache_dir().rglob("*"))


def test_a_refused_folder_leaves_nothing_behind(folder: Path) -> None:
    (folder / "3.png").write_text("no image")
    with pytest.raises(ValueError, match=r"3\.png"):
        _load(folder)
    assert not any(cache_dir().rglob("*"))
