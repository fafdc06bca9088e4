"""Vectors in shards: one array to read, one artefact to keep, the user's own without copying."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmsel.artefacts import read_json, sha256_array
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.embeddings.vectors.folder import import_folder
from fmsel.embeddings.vectors.imported import import_embeddings
from fmsel.embeddings.vectors.reduce import Reduction
from fmsel.embeddings.vectors.shards import ShardedRows, as_shards, shards_of
from fmsel.errors import ArtefactError, DataError, OptionError
from fmsel.selection.pool import Pool
from fmsel.selection.split.known import Known, embedded

D = 3


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, D)).astype(np.float32)


def written(folder: Path, rows: np.ndarray, cuts: list[int]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(np.split(rows, cuts)):
        np.save(folder / f"part-{number}.npy", part)
    return folder


def opened(folder: Path, rows: np.ndarray, cuts: list[int]) -> ShardedRows:
    return ShardedRows.open(shards_of(written(folder, rows, cuts)))


@given(
    cuts=st.lists(st.integers(0, 30), max_size=12).map(sorted),
    which=st.one_of(
        st.slices(30),
        st.lists(st.integers(-30, 29)).map(lambda each: np.array(each, dtype=np.int64)),
        st.lists(st.booleans(), min_size=30, max_size=30).map(np.array),
    ),
)
@settings(max_examples=150)
def test_reads_like_one_array(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], which: Any
) -> None:
    """Slices with steps too, indices in any order and twice, shards without rows."""
    rows = vectors(30)
    shards = opened(tmp_path_factory.mktemp("shards"), rows, cuts)
    assert len(shards) == 30 and shards.shape == rows.shape and shards.ndim == rows.ndim
    assert shards.dtype == rows.dtype and shards[which].dtype == rows.dtype
    np.testing.assert_array_equal(shards[which], rows[which])
    np.testing.assert_array_equal(np.asarray(shards), rows)
    assert shards.hashes.whole == sha256_array(rows)
    assert list(shards.hashes.shards) == [sha256_array(part) for part in np.split(rows, cuts)]


def test_is_read_only_and_memory_mapped(tmp_path: Path) -> None:
    shards = opened(tmp_path, vectors(10), [4])
    inside = shards[5:9]
    assert not inside.flags.writeable and not inside.flags.owndata
    with pytest.raises(TypeError, match="item assignment"):
        shards[0:1] = 0  # type: ignore[index]
    with pytest.raises(IndexError, match=r"rows 3\.\.10 are not all among 10"):
        shards[np.array([3, 10])]
    with pytest.raises(IndexError, match="a mask of 10 rows"):
        shards[np.ones(9, dtype=bool)]
    with pytest.raises(ValueError, match="without a copy"):
        np.array(shards, copy=False)


def test_is_pickled_by_its_paths(tmp_path: Path) -> None:
    rows = vectors(50_000)
    shards = opened(tmp_path, rows, [20_000])
    assert shards[:1].shape == (1, D)  # a file is open by now
    sent = pickle.dumps(shards)
    assert len(sent) < 2_000
    np.testing.assert_array_equal(pickle.loads(sent)[19_990:20_010], rows[19_990:20_010])


def test_parts_are_in_natural_order(tmp_path: Path) -> None:
    rows = vectors(24)
    shards = opened(tmp_path, rows, [*range(2, 24, 2)])  # part-0 to part-11
    assert [path.name for path in shards.paths][9:] == ["part-9.npy", "part-10.npy", "part-11.npy"]
    np.testing.assert_array_equal(shards[:], rows)


def test_a_memory_mapped_file_is_one_shard(tmp_path: Path) -> None:
    rows = vectors(9)
    np.save(tmp_path / "e.npy", rows)
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    shard = as_shards(mapped)
    assert isinstance(shard, ShardedRows) and shard.shape == (9, D)
    assert as_shards(rows) is rows and as_shards(shard) is shard
    part = mapped[2:5]
    assert as_shards(part) is part


HARM: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: (f / "part-1.npy").unlink(), r"the shard .*part-1\.npy cannot be read"),
    (lambda f: (f / "part-1.npy").write_bytes(b"x"), r"the shard .*part-1\.npy cannot be read"),
    (lambda f: np.save(f / "part-1.npy", vectors(1038, 1)), r"part-1\.npy does not match the sha"),
    (lambda f: np.save(f / "part-1.npy", vectors(1037)), r"part-1\.npy does not match the sha256"),
    (lambda f: np.save(f / "part-1.npy", vectors(1038).astype("f8")), "must hold float32 .* float"),
    (lambda f: np.save(f / "part-1.npy", vectors(1038)[:, :2]), "of 3 features and part-1.npy of"),
    (lambda f: np.save(f / "part-1.npy", np.asfortranarray(vectors(1038))), "in Fortran order"),
]


def test_artefact_refers_to_the_shards(digits: ImageDataset, tmp_path: Path) -> None:
    rows = vectors(len(digits))
    folder, path = written(tmp_path / "mine", rows, [400]), tmp_path / "e" / "mine.npy"
    said: list[str] = []
    made = import_folder(digits, folder, say=said.append)
    made.save(path)
    assert "the 2 shards are referred to, so keep them" in said[0] and "0 to" in said[0]
    assert [each.name for each in path.parent.iterdir()] == ["mine.json"]
    header = read_json(path.with_suffix(".json"), "header")
    assert [each["file"] for each in header["shards"]] == [
        "../mine/part-0.npy",
        "../mine/part-1.npy",
    ]
    for name in (path, path.with_suffix(".json")):
        found = Embeddings.load(name)
        assert isinstance(found.features, ShardedRows) and found.encoder == "mine"
        np.testing.assert_array_equal(found.features[:], rows)
    assert found.parameters["shards"] == 2 and found.parameters["normalised"] is False
    found.check(digits, "e")
    known = embedded(digits, found, "mine.npy").pool(digits, {})
    assert known.features is found.features
    np.testing.assert_array_equal(known.vectors(np.array([500, 3])), rows[[500, 3]])


def test_moved_together_they_are_found(digits: ImageDataset, tmp_path: Path) -> None:
    folder = written(tmp_path / "a" / "mine", vectors(len(digits)), [400])
    import_folder(digits, folder).save(tmp_path / "a" / "e.npy")
    (tmp_path / "a").rename(tmp_path / "b")
    assert len(Embeddings.load(tmp_path / "b" / "e.npy")) == len(digits)


def test_one_file_and_shards_of_the_same_rows_have_the_same_hash(
    digits: ImageDataset, tmp_path: Path
) -> None:
    rows = vectors(len(digits))
    np.save(tmp_path / "one.npy", rows)
    one = import_embeddings(digits, tmp_path / "one.npy")
    assert import_folder(digits, written(tmp_path / "f", rows, [7, 7, 900])).sha256 == one.sha256


def test_either_form_replaces_the_other_by_force_alone(
    digits: ImageDataset, tmp_path: Path
) -> None:
    folder, path = written(tmp_path / "f", vectors(len(digits)), [400]), tmp_path / "e.npy"
    shards = import_folder(digits, folder)
    copied = import_folder(digits, folder, Reduction(normalise=True))
    copied.save(path)
    shards.save(path, force=True)
    assert not path.exists() and isinstance(Embeddings.load(path).features, ShardedRows)
    copied.save(path, force=True)
    assert isinstance(Embeddings.load(path).features, np.memmap)
    with pytest.raises(OptionError, match="is one of the shards themselves"):
        shards.save(folder / "part-0.npy", force=True)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(("harm", "sentence"), HARM)
def test_broken_shards_are_refused(
    digits: ImageDataset, tmp_path: Path, harm: Callable[[Path], object], sentence: str
) -> None:
    folder = written(tmp_path / "mine", vectors(len(digits)), [400])
    import_folder(digits, folder).save(tmp_path / "e.npy")
    harm(folder)
    with pytest.raises(ArtefactError, match=sentence):
        Embeddings.load(tmp_path / "e.npy")


@pytest.mark.parametrize("shards", ["part-0.npy", [{"name": "part-0.npy"}], 3])
def test_a_header_of_another_form_is_refused(
    digits: ImageDataset, tmp_path: Path, shards: object
) -> None:
    path = tmp_path / "e.npy"
    import_folder(digits, written(tmp_path, vectors(len(digits)), [400])).save(path)
    header = path.with_suffix(".json")
    text = header.read_text().replace('"seed"', f'"shards": {shards!r}, "seed"'.replace("'", '"'))
    header.write_text(text.replace('"shards": [{"file"', '"old": [{"file"'))
    with pytest.raises(ArtefactError, match="does not describe embeddings"):
        Embeddings.load(path)


def test_shards_changed_under_an_open_reader_are_refused(tmp_path: Path) -> None:
    shards = opened(tmp_path, vectors(9), [4])
    again = pickle.loads(pickle.dumps(shards))
    np.save(tmp_path / "part-1.npy", vectors(6))
    with pytest.raises(ArtefactError, match=r"part-1\.npy has changed: it holds 6 rows of 3, and"):
        again[4:6]


@pytest.mark.parametrize(
    ("dtype", "order", "reduction", "why"),
    [
        (np.float64, "C", None, "they are not all float32"),
        (np.float16, "C", None, "they are not all float32"),
        (np.float32, "F", None, "they are not all in C order"),
        (np.float32, "C", Reduction(normalise=True), "they are reduced or normalised"),
        (np.float32, "C", Reduction(pca=2), "they are reduced or normalised"),
    ],
)
def test_others_are_copied_as_one_file_would_be(
    digits: ImageDataset, tmp_path: Path, dtype: Any, order: Any, reduction: Any, why: str
) -> None:
    rows = vectors(len(digits)).astype(dtype)
    folder = tmp_path / "f"
    folder.mkdir()
    for number, part in enumerate(np.split(rows, [600])):
        np.save(folder / f"part-{number}.npy", np.asarray(part, order=order))
    np.save(tmp_path / "one.npy", rows)
    said: list[str] = []
    made = import_folder(digits, folder, reduction, say=said.append)
    assert isinstance(made.features, np.ndarray) and f"copied ({why})" in said[0]
    expected = import_embeddings(digits, tmp_path / "one.npy", None, reduction).features
    np.testing.assert_array_equal(made.features, expected)


def with_nan(count: int) -> np.ndarray:
    rows = vectors(count)
    rows[1_000, 1] = np.nan
    return rows


@pytest.mark.parametrize(
    ("parts", "error", "sentence"),
    [
        ([], ArtefactError, r"holds no files part-\*\.npy"),
        (
            [vectors(400), vectors(1037)],
            ArtefactError,
            "2 shards in .* hold 1437 rows, but digits",
        ),
        ([vectors(400), vectors(1038)[:, :2]], ArtefactError, r"3 features and part-1\.npy of 2"),
        ([vectors(400), vectors(1038)[0]], ArtefactError, r"real numbers of shape \(N, D\)"),
        ([with_nan(1438)], DataError, r"row 1000 .* NaN"),
        ([np.ones((1438, 2), dtype=np.float32)], DataError, "all 1438 rows are the same"),
    ],
)
def test_bad_folders_are_refused(
    digits: ImageDataset, tmp_path: Path, parts: list[np.ndarray], error: Any, sentence: str
) -> None:
    for number, part in enumerate(parts):
        np.save(tmp_path / f"part-{number}.npy", part)
    with pytest.raises(error, match=sentence):
        import_folder(digits, tmp_path)


def test_a_pool_checks_the_number_of_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the features must be 8 finite numbers or rows"):
        Pool(n=8, features=opened(tmp_path, vectors(9), [4]))


def test_workers_are_given_one_file_as_a_shard(digits: ImageDataset, tmp_path: Path) -> None:
    class Elsewhere:
        def map(self, function: Any, rows: Any, parts: Any) -> Any:
            raise NotImplementedError

    np.save(tmp_path / "one.npy", vectors(len(digits)))
    import_embeddings(digits, tmp_path / "one.npy").save(tmp_path / "e.npy")
    features = Embeddings.load(tmp_path / "e.npy").features
    assert isinstance(Known(features=features).pool(digits, {}).features, np.memmap)
    apart = Known(features=features, backend=Elsewhere()).pool(digits, {})
    assert isinstance(apart.features, ShardedRows) and len(apart.features.paths) == 1
