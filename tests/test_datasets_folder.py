"""Image folders: layouts, order, modes, sizes, and every way in which one can be wrong."""

import os
import struct
import warnings
import zlib
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder

from fmsel.datasets import Part, Source, WeakAugment, load_dataset
from fmsel.datasets.images.files import natural_key
from fmsel.errors import DataError


def deep_tiff(planes: int = 1) -> bytes:
    """2 x 2 RGB pixels, 16 bits a channel, together or in 3 planes; all high bytes are 0."""
    body, size = b"\1\0" * 12, 24 // planes
    bits, starts, sizes = 150, 156, 168  # where the three of each are told, and the pixels after
    several = {258: (3, bits), 273: (planes, starts), 279: (planes, sizes)} if planes > 1 else {}
    values = {256: 2, 257: 2, 258: bits, 259: 1, 262: 2, 273: 180, 277: 3, 278: 2, 279: size}
    values[284] = 1 + (planes > 1)
    entries = b""
    for tag, value in values.items():
        count, where = several.get(tag, (3 if tag == 258 else 1, value))
        entries += struct.pack("<HHII", tag, 3 if tag == 258 else 4, count, where)
    head = b"II*\0" + struct.pack("<IH", 8, len(values)) + entries
    lists = struct.pack("<3H", 16, 16, 16)
    lists += struct.pack("<3I", *(180 + k * size for k in range(3))) + struct.pack(
        "<3I", *[size] * 3
    )
    return head.ljust(bits, b"\0") + lists + body


def picture(number: int, side: int = 8, height: int | None = None) -> npt.NDArray[np.uint8]:
    """Noise that is different for each number, (height, side, 3)."""
    shape = (height or side, side, 3)
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: npt.NDArray[np.uint8], mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


def make_classes(root: Path, counts: dict[str, int], first: int = 0) -> None:
    for name, count in counts.items():
        for number in range(count):
            save(root / name / f"{number}.png", picture(first + number))


@pytest.mark.parametrize("part", ["train", "test"])
def test_class_folders_read_as_torchvision_reads_them(tmp_path: Path, part: Part) -> None:
    make_classes(tmp_path / "train", {"cat": 4, "dog": 3})
    make_classes(tmp_path / "test", {"cat": 2, "dog": 2}, first=50)
    data = load_dataset(str(tmp_path), part)
    theirs = ImageFolder(str(tmp_path / part))
    assert data.class_names == tuple(theirs.classes)
    assert data.labels.tolist() == theirs.targets
    for row, (image, _) in enumerate(theirs):
        np.testing.assert_array_equal(data.images[row], np.asarray(image))
    assert [str(tmp_path / each) for each in data.ids] == [path for path, _ in theirs.samples]
    assert data.weak == WeakAugment(flip=True, shift=1)
    assert data.labelled


def test_a_folder_without_test_part_is_cut(tmp_path: Path) -> None:
    make_classes(tmp_path, {"a": 20, "b": 10})
    whole = {f"{name}/{i}.png" for name, n in (("a", 20), ("b", 10)) for i in range(n)}
    train = load_dataset(str(tmp_path), eval_fraction=0.3)
    test = load_dataset(str(tmp_path), "test", eval_fraction=0.3)
    assert np.bincount(test.labels).tolist() == [6, 3]
    assert {*train.ids, *test.ids} == whole
    assert len(train) + len(test) == 30
    assert len(load_dataset(str(tmp_path), "test")) == 3


def test_a_train_folder_alone_is_cut_too(tmp_path: Path) -> None:
    make_classes(tmp_path / "train", {"a": 10, "b": 10})
    assert len(load_dataset(str(tmp_path))) == 18
    assert load_dataset(str(tmp_path), "test").ids[0].startswith("train/a/")


@pytest.mark.parametrize("folder", ["", "train"])
def test_images_without_labels(tmp_path: Path, folder: str) -> None:
    for number in (10, 2, 1):
        save(tmp_path / folder / f"im{number}.png", picture(number))
    train, test = load_dataset(str(tmp_path)), load_dataset(str(tmp_path), "test")
    assert train.labels.tolist() == [-1, -1, -1]
    assert train.class_names == ()
    assert not train.labelled
    assert [Path(each).name for each in train.ids] == ["im1.png", "im2.png", "im10.png"]
    for row, number in enumerate((1, 2, 10)):
        np.testing.assert_array_equal(train.images[row], picture(number))
    assert test.images.shape == (0, 8, 8, 3)
    assert len(test.labels) == len(test.ids) == 0


def test_both_parts_without_labels(tmp_path: Path) -> None:
    for part, numbers in (("train", (1, 2)), ("test", (3, 4, 5))):
        for number in numbers:
            save(tmp_path / part / f"{number}.png", picture(number))
    assert load_dataset(str(tmp_path), "test").ids.tolist() == [f"test/{i}.png" for i in (3, 4, 5)]
    assert len(load_dataset(str(tmp_path))) == 2


def test_a_train_part_to_be_labelled_takes_the_classes_of_the_test_part(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "train" / f"{number}.png", picture(number))
    make_classes(tmp_path / "test", {"cat": 2, "dog": 2}, first=50)
    data = load_dataset(str(tmp_path))
    assert data.class_names == ("cat", "dog") and data.labels.tolist() == [-1] * 4
    test = load_dataset(str(tmp_path), "test")
    assert test.class_names == ("cat", "dog") and test.labels.tolist() == [0, 0, 1, 1]


def test_a_file_may_name_the_classes_that_no_folder_names(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"{number}.png", picture(number))
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfwolf\r\n\r\n cat \r\n")
    data = load_dataset(str(tmp_path))
    assert data.class_names == ("wolf", "cat")
    assert len(data) == 4 and not data.labelled
    assert len(load_dataset(str(tmp_path), "test")) == 0


def test_folders_name_classes_before_any_file_does(tmp_path: Path) -> None:
    make_classes(tmp_path, {"cat": 20, "dog": 20})
    (tmp_path / "classes.txt").write_text("a\nb\n")
    assert load_dataset(str(tmp_path)).class_names == ("cat", "dog")


@pytest.mark.parametrize("text", ["", "cat\n", "cat\ndog\ncat\n"])
def test_a_file_of_too_few_or_repeated_classes_is_refused(text: str, tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / f"{number}.png", picture(number))
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(
        DataError, match="must name two or more classes, a line each and none twice"
    ):
        load_dataset(str(tmp_path))


def test_a_file_of_classes_that_the_test_part_lacks_is_refused(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / "train" / f"{number}.png", picture(number))
    make_classes(tmp_path / "test", {"cat": 2, "dog": 2}, first=50)
    (tmp_path / "classes.txt").write_text("cat\nwolf\n")
    with pytest.raises(DataError, match="only one of them has dog, wolf"):
        load_dataset(str(tmp_path))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    make_classes(tmp_path, {"car": 6, "train": 6})
    assert load_dataset(str(tmp_path)).class_names == ("car", "train")


def test_hidden_and_other_files_are_no_images(tmp_path: Path) -> None:
    make_classes(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "a" / ".hidden.png").write_text("no image")
    (tmp_path / ".git").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    data = load_dataset(str(tmp_path))
    assert data.class_names == ("a", "b")
    assert len(data) == 5


def test_the_name_is_safe_in_a_file_name(tmp_path: Path) -> None:
    make_classes(tmp_path / "my pets & co", {"a": 3, "b": 3})
    data = load_dataset(str(tmp_path / "my pets & co"))
    assert data.name == "my-pets-co"
    assert data.source == Source(dataset=str(tmp_path / "my pets & co"))


def test_a_folder_that_moved_is_found_by_data_root(tmp_path: Path) -> None:
    make_classes(tmp_path / "old", {"a": 3, "b": 3})
    data = load_dataset(str(tmp_path / "old"))
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(DataError, match="old cannot be read"):
        load_dataset(data.source)
    again = load_dataset(data.source, data_root=tmp_path / "new")
    assert again.images_sha256 == data.images_sha256
    assert again.source.dataset == str(tmp_path / "new")


def test_a_relative_path_is_stored_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_classes(tmp_path / "pets", {"a": 3, "b": 3})
    monkeypatch.chdir(tmp_path)
    data = load_dataset("pets")
    assert data.source.dataset == str(tmp_path / "pets")


def test_mixed_modes_become_rgb_and_are_named(tmp_path: Path) -> None:
    for number, mode in enumerate(["RGB", "RGB", "L", "P", "1", "RGB"]):
        save(tmp_path / f"{number}.png", picture(number), mode)
    with pytest.warns(
        UserWarning, match=r"made RGB: 3 in RGB, 1 in L \(2.png\), 1 in P \(3.png\), 1 in 1"
    ):
        data = load_dataset(str(tmp_path))
    for row in range(6):
        with Image.open(tmp_path / f"{row}.png") as image:
            np.testing.assert_array_equal(data.images[row], np.asarray(image.convert("RGB")))


def test_grey_alone_needs_no_warning(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", picture(number), "L")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_dataset(str(tmp_path))
    assert (data.images[..., :1] == data.images).all()


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.concatenate([picture(1), np.full((8, 8, 1), 255, np.uint8)], axis=2)
    pixels[:4, :, 3] = 0
    for number in range(2):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    images = load_dataset(str(tmp_path)).images
    assert (images[:, :4] == 255).all()
    np.testing.assert_array_equal(images[0, 4:], pixels[4:, :, :3])


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate 90 degrees clockwise to view
    for number in range(2):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png", exif=exif)
    images = load_dataset(str(tmp_path)).images
    np.testing.assert_array_equal(images[0], np.rot90(picture(0), -1))


def test_sixteen_bits_are_refused_by_name(tmp_path: Path) -> None:
    save(tmp_path / "0.png", picture(0))
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"1 of 2 images .* deep.png \(mode I(;16)? has no 8-bit"):
        load_dataset(str(tmp_path))


def deep_png(colour: int, channels: int) -> bytes:
    """8 x 8 pixels, 16 bits a channel, all of whose high bytes are 0; colour as PNG counts it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))

    rows = (b"\0" + np.arange(8 * channels, dtype=">u2").tobytes()) * 8
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, colour, 0, 0, 0)),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("colour.png", deep_png(2, 3)),
        ("grey-and-alpha.png", deep_png(4, 2)),
        ("colour-and-alpha.png", deep_png(6, 4)),
        ("colour.ppm", b"P6 8 8 65535\n" + bytes(8 * 8 * 6)),
        ("colour.tif", deep_tiff()),
        ("planes.tif", deep_tiff(planes=3)),
    ],
)
def test_sixteen_bits_in_colour_are_refused_too(tmp_path: Path, name: str, content: bytes) -> None:
    """Pillow calls them RGB or RGBA and keeps the high bytes: these would all be black."""
    save(tmp_path / "0.png", picture(0))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"1 of 2 images .* {name} \(it has 16 bits a channel"):
        load_dataset(str(tmp_path))


def test_eight_bits_in_any_format_are_read(tmp_path: Path) -> None:
    """What a decoder is told of them holds numbers over 255 too, such as the bytes of a row."""
    wide = Image.fromarray(picture(0, 300))
    for suffix in ("bmp", "gif", "jpg", "png", "ppm", "tif", "webp"):
        wide.save(tmp_path / f"0.{suffix}")
    wide.convert("1").save(tmp_path / "bits.pbm")
    (tmp_path / "bits.pbm").rename(tmp_path / "bits.pnm")
    (tmp_path / "plain.pnm").write_text("P1 300 300\n" + "0 1 " * (300 * 150))
    (tmp_path / "rgb565.bmp").write_bytes(
        b"BM"
        + struct.pack("<IHHI", 66 + 300 * 600, 0, 0, 66)
        + struct.pack("<IiiHHIIiiII", 40, 300, 300, 1, 16, 3, 300 * 600, 0, 0, 0, 0)
        + struct.pack("<III", 0xF800, 0x07E0, 0x001F)
        + bytes(300 * 600)
    )
    with pytest.warns(UserWarning, match="mixes image modes"):  # GIF has a palette
        assert len(load_dataset(str(tmp_path)).images) == 10


@pytest.mark.parametrize("name", [b"a/\xe9t\xe9.png", b"caf\xe9/0.png"])
def test_names_that_are_not_utf8_are_refused(tmp_path: Path, name: bytes) -> None:
    make_classes(tmp_path, {"a": 2, "b": 2})
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    try:
        save(path, picture(9))
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    with pytest.raises(DataError, match=r"the name of .*\\udce9.* is not UTF-8; rename it"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("resize", [None, 4])
def test_unreadable_images_are_counted_and_named(tmp_path: Path, resize: int | None) -> None:
    make_classes(tmp_path, {"a": 30, "b": 30})
    for number in range(0, 10, 2):
        (tmp_path / "a" / f"{number}.png").write_text("no image")
    whole = (tmp_path / "b" / "3.png").read_bytes()
    (tmp_path / "b" / "3.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b" / "4.png").write_bytes(b"")
    share = 0.01  # one image is held out
    message = (
        r"[67] of 59 images in .* cannot be used: a/\d.png \(its bytes are no image\), "
        r"a/\d.png .*, a/\d.png .* and [34] more"
    )
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path), resize=resize, eval_fraction=share)


def test_nothing_readable_at_all(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_text("no image")
    with pytest.raises(DataError, match="3 of 3 images"):
        load_dataset(str(tmp_path))


def test_a_dangling_link_is_named(tmp_path: Path) -> None:
    make_classes(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"gone.png cannot be read \(No such file"):
        load_dataset(str(tmp_path))


def test_unequal_sizes_name_two_files(tmp_path: Path) -> None:
    save(tmp_path / "0.png", picture(0))
    save(tmp_path / "1.png", picture(1, side=12))
    with pytest.raises(DataError, match=r"0.png is 8 x 8 and 1.png is 12 x 12 .* --resize"):
        load_dataset(str(tmp_path))
    assert load_dataset(str(tmp_path), resize=8).images.shape == (2, 8, 8, 3)


def test_oblong_images_need_resize_which_crops_the_centre(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / f"{number}.png", picture(number, side=16, height=8))
    with pytest.raises(DataError, match=r"must be square, and .*0.png is 16 x 8 .* --resize"):
        load_dataset(str(tmp_path))
    images = load_dataset(str(tmp_path), resize=8).images
    np.testing.assert_array_equal(images[1], picture(1, side=16, height=8)[:, 4:12])


def test_resize_of_a_large_photograph_is_close_to_pillows(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 512)
    pixels = np.stack([np.add.outer(ramp, ramp) / 2] * 3, axis=2).astype(np.uint8)
    for number in range(2):
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg", quality=95)
    expected = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
    images = load_dataset(str(tmp_path), resize=32).images
    np.testing.assert_allclose(images[0], np.asarray(expected), atol=3)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"only": 3}, "has the one class folder 'only'"),
        ({"a": 3, "b": 0}, "1 class folders without images, such as 'b'"),
        ({"a": 0, "b": 0}, r"holds no images; fmsel reads PATH/\{train,test\}"),
        ({}, "holds no images"),
    ],
)
def test_class_folders_that_make_no_data_set(
    tmp_path: Path, counts: dict[str, int], message: str
) -> None:
    for name in counts:
        (tmp_path / name).mkdir()
    make_classes(tmp_path, counts)
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path))


def test_other_layouts_that_make_no_data_set(tmp_path: Path) -> None:
    save(tmp_path / "one" / "0.png", picture(0))
    with pytest.raises(DataError, match="one holds one image"):
        load_dataset(str(tmp_path / "one"))
    make_classes(tmp_path / "both", {"a": 2, "b": 2})
    save(tmp_path / "both" / "loose.png", picture(0))
    with pytest.raises(DataError, match=r"images beside folders of images \(loose.png and a/\)"):
        load_dataset(str(tmp_path / "both"))
    with pytest.raises(DataError, match="nowhere cannot be read"):
        load_dataset(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"0.png cannot be read \(Not a directory"):
        load_dataset(str(tmp_path / "one" / "0.png"))


@pytest.mark.parametrize("part", ["train", "test"])
def test_train_and_test_must_have_the_same_classes(tmp_path: Path, part: Part) -> None:
    make_classes(tmp_path / "train", {"a": 3, "b": 3})
    make_classes(tmp_path / "test", {"a": 3, "c": 3})
    with pytest.raises(DataError, match="same class folders; only one of them has b, c"):
        load_dataset(str(tmp_path), part)


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_natural_order_is_numeric_order(numbers: list[int]) -> None:
    names = [f"img{number}.png" for number in numbers]
    assert sorted(names, key=natural_key) == [f"img{number}.png" for number in sorted(numbers)]


@given(st.lists(st.text(max_size=8)))
def test_natural_order_sorts_any_names(names: list[str]) -> None:
    ordered = sorted(names, key=natural_key)
    assert ordered == sorted(reversed(names), key=natural_key)
    assert sorted(ordered) == sorted(names)
