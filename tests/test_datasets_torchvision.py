"""The data sets that torchvision reads, on tiny archives in the original formats."""

import hashlib
import pickle
import tarfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import numpy.typing as npt
import pytest
import torchvision.datasets
from scipy.io import savemat

from fmsel.artefacts import cache_dir
from fmsel.datasets import Part, WeakAugment, load_dataset
from fmsel.errors import DataError

N = 20


def _noise(number: int, *shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def _make_cifar(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CIFAR archive with N images a part; returns the folder it would be unpacked into."""
    cls = getattr(torchvision.datasets, name)
    folder = root / str(cls.base_folder)
    folder.mkdir()
    fine = name == "CIFAR100"
    classes = [f"class {number}" for number in range(100 if fine else 10)]
    for number, part in enumerate(("train", "test")):
        batch = {
            "data": _noise(number, N, 3 * 32 * 32),
            "fine_labels" if fine else "labels": [(3 * i + number) % 10 for i in range(N)],
        }
        (folder / part).write_bytes(pickle.dumps(batch))
        monkeypatch.setattr(cls, f"{part}_list", [[part, _md5(folder / part)]])
    key = "fine_label_names" if fine else "label_names"
    (folder / "meta").write_bytes(pickle.dumps({key: classes}))
    meta = {"filename": "meta", "key": key, "md5": _md5(folder / "meta")}
    monkeypatch.setattr(cls, "meta", meta)
    return folder


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("part", ["train", "test"])
def test_cifar(name: str, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make_cifar(tmp_path, name.upper(), monkeypatch)
    data = load_dataset(name, part, data_root=tmp_path, offline=True)
    number = int(part == "test")
    planes = _noise(number, N, 3 * 32 * 32).reshape(N, 3, 32, 32)
    np.testing.assert_array_equal(data.images, planes.transpose(0, 2, 3, 1))
    assert data.labels.tolist() == [(3 * i + number) % 10 for i in range(N)]
    assert data.ids.tolist() == [str(i) for i in range(N)]
    assert data.n_classes == (100 if name == "cifar100" else 10)
    assert data.weak == WeakAugment(flip=True, shift=4)
    assert data.name == name


@pytest.mark.usefixtures("no_network")
def test_an_archive_in_the_folder_is_unpacked_offline_and_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cls = torchvision.datasets.CIFAR10
    folder = _make_cifar(tmp_path, "CIFAR10", monkeypatch)
    archive = cache_dir() / "data" / cls.filename
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=cls.base_folder)
    monkeypatch.setattr(cls, "tgz_md5", _md5(archive))
    data = load_dataset("cifar10", offline=True)
    assert len(data) == N
    assert data.source.data_root is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("part", ["train", "test"])
def test_svhn(part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = torchvision.datasets.SVHN
    pixels = _noise(7, 32, 32, 3, N)
    digits = np.arange(1, N + 1) % 10
    path = tmp_path / f"{part}_32x32.mat"
    savemat(path, {"X": pixels, "y": np.where(digits == 0, 10, digits)[:, None]})
    parts = {**cls.split_list, part: ["http://localhost", path.name, _md5(path)]}
    monkeypatch.setattr(cls, "split_list", parts)
    data = load_dataset("svhn", part, data_root=tmp_path, offline=True)
    np.testing.assert_array_equal(data.images, pixels.transpose(3, 0, 1, 2))
    assert data.labels.tolist() == digits.tolist()
    assert data.class_names == tuple("0123456789")
    assert data.weak == WeakAugment(flip=False, shift=4)


@pytest.mark.parametrize("part", ["train", "test"])
def test_stl10(part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = torchvision.datasets.STL10
    folder = tmp_path / cls.base_folder
    folder.mkdir()
    for number, name in enumerate(("train", "test", "unlabeled")):
        (folder / f"{name}_X.bin").write_bytes(_noise(number, N, 3, 96, 96).tobytes())
        (folder / f"{name}_y.bin").write_bytes(bytes(i % 10 + 1 for i in range(N)))
    names = ["train_X.bin", "train_y.bin", "unlabeled_X.bin"]
    monkeypatch.setattr(cls, "train_list", [[each, _md5(folder / each)] for each in names])
    tests = ["test_X.bin", "test_y.bin"]
    monkeypatch.setattr(cls, "test_list", [[each, _md5(folder / each)] for each in tests])
    (folder / "class_names.txt").write_text("\n".join(f"thing {i}" for i in range(10)))
    data = load_dataset("stl10", part, data_root=tmp_path, offline=True)
    # the files hold each plane column by column
    planes = _noise(int(part == "test"), N, 3, 96, 96)
    np.testing.assert_array_equal(data.images, planes.transpose(0, 3, 2, 1))
    assert data.labels.tolist() == [i % 10 for i in range(N)]
    assert data.labelled
    assert data.class_names[3] == "thing 3"
    assert data.weak == WeakAugment(flip=True, shift=12)


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python.tar.gz"),
        ("svhn", "train_32x32.mat"),
        ("stl10", "stl10_binary.tar.gz"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_without_files_or_network_the_way_out_is_said(
    name: str, archive: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    advice = f"put {archive} from http.* there, or name the folder that holds it with --data-root"
    with pytest.raises(DataError, match=f"{name} was not found in {tmp_path}; {advice}, or drop"):
        load_dataset(name, data_root=tmp_path, offline=True)
    with pytest.raises(DataError, match=rf"{name} could not be fetched \(.*no route.*{advice}$"):
        load_dataset(name, data_root=tmp_path)
    assert capsys.readouterr().out == ""
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


def test_a_download_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"could not be fetched \(.*(Not a directory|exists)"):
        load_dataset("svhn", data_root=tmp_path / "file")


def test_offline_never_replaces_a_broken_archive(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"half a download")
    with pytest.raises(DataError, match="cifar10 was not found"):
        load_dataset("cifar10", data_root=tmp_path, offline=True)
    assert (tmp_path / "cifar-10-python.tar.gz").read_bytes() == b"half a download"
