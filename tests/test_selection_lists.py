"""Files that say which images to leave out and which belong together, and near-duplicates."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from fmsel.datasets import ImageDataset, Source, WeakAugment
from fmsel.errors import ArtefactError, OptionError
from fmsel.selection.random import Random
from fmsel.selection.split import make_split
from fmsel.selection.split.lists import joined, near_duplicates, read_groups, read_images

DATA = ImageDataset(
    name="toy",
    source=Source(dataset="toy"),
    part="train",
    images=np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), dtype=np.uint8),
    labels=np.array([0, 1] * 4),
    ids=np.array([f"ward/{i}.png" for i in range(8)]),
    class_names=("ill", "well"),
    weak=WeakAugment(),
)


def test_images_are_read_from_every_form(tmp_path: Path) -> None:
    split = make_split(DATA, Random(), batch_size=3)
    split.save(tmp_path / "s.json")
    np.save(tmp_path / "i.npy", np.array([5, 2]))
    (tmp_path / "i.txt").write_text("5\n2\n")
    (tmp_path / "by_id.csv").write_text("id,why\nward/5.png,blurred\nward/2.png,private\n")
    (tmp_path / "by_index.csv").write_bytes(b"\xef\xbb\xbfindex\r\n5\r\n2\r\n")  # as Excel writes
    assert read_images(tmp_path / "s.json", DATA).tolist() == list(split.indices)
    for name in ("i.npy", "i.txt", "by_id.csv", "by_index.csv"):
        assert read_images(tmp_path / name, DATA).tolist() == [5, 2]


@pytest.mark.filterwarnings("ignore:.*gives 3 of 8 images a group")
def test_groups_are_read_and_images_not_named_stand_alone(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    path.write_text("id,group\nward/0.png,ann\nward/3.png,ben\nward/6.png,ann\n")
    groups = read_groups(path, DATA)
    assert groups[0] == groups[6]
    assert len(np.unique(groups)) == 7


@pytest.mark.filterwarnings("ignore:.*gives 2 of 8 images a group")
def test_an_empty_group_joins_nothing(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    path.write_text("index,group\n0,\n1, \n2,ann\n3,ann\n")
    groups = read_groups(path, DATA)
    assert groups[2] == groups[3]
    assert len(np.unique(groups)) == 7


def test_a_pair_just_below_the_cosine_is_no_near_duplicate() -> None:
    angle = np.arccos(np.array([0.97995, 0.98005]))
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for row, together in zip(rows, (False, True), strict=True):
        pair = np.array([[1, 0], row], dtype=np.float32)
        assert (len(np.unique(near_duplicates(pair, 0.98))) == 1) == together


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id,group\nward/9.png,ann\n", "line 2: there is no image with the id 'ward/9.png'"),
        ("id,group\nward/1.png,a\nward/1.png,b\n", "line 3: id ward/1.png was on line 2 already"),
        ("index,group\n0,a\n8,b\n", "line 3: index '8' is not one of 0..7"),
        ("index,group\n-1,a\n", "line 2: index '-1' is not one of 0..7"),
        ("id,patient\nward/1.png,a\n", "columns: id or index, and group"),
        ("", "columns: id or index, and group"),
    ],
)
def test_bad_tables_are_refused_with_their_line(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    path.write_text(text)
    with pytest.raises(ArtefactError, match=sentence):
        read_groups(path, DATA)


def test_unreadable_files_and_other_suffixes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"id,group\n\xff\xfe,1\n")
    with pytest.raises(ArtefactError, match=r"cannot be read as a \.csv"):
        read_groups(tmp_path / "bytes.csv", DATA)
    with pytest.raises(ArtefactError, match=r"cannot be read as a \.csv"):
        read_images(tmp_path / "none.csv", DATA)
    with pytest.raises(OptionError, match=r"groups are read from a \.csv"):
        read_groups(tmp_path / "groups.txt", DATA)


def vectors(seed: int, n: int = 40) -> np.ndarray:
    """Half of them close to another one."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(n // 2, 5))
    second = first + rng.choice([0.01, 0.3, 3], (n // 2, 1)) * rng.normal(size=first.shape)
    return np.concatenate([first, second]).astype(np.float32)


@pytest.mark.parametrize("cosine", [0.9, 0.99])
@pytest.mark.parametrize("draw", range(3))
def test_near_duplicates_are_the_components_of_similar_pairs(draw: int, cosine: float) -> None:
    rows = vectors(draw)
    alike = cosine_similarity(rows.astype("f8")) >= cosine
    reach = np.linalg.matrix_power(alike.astype(float), len(rows)) > 0  # chains of any length
    groups = near_duplicates(rows, cosine)
    assert ((groups[:, None] == groups) == reach).all()


def test_equal_images_are_near_duplicates_however_many() -> None:
    rows = np.repeat(vectors(0, 4), 70, axis=0)  # more than the neighbours that are looked at
    assert len(np.unique(near_duplicates(rows, 1.0))) == 4


@pytest.mark.parametrize("cosine", [0.0, -0.5, 1.5, float("nan")])
def test_a_cosine_out_of_range_is_refused(cosine: float) -> None:
    with pytest.raises(OptionError, match=r"must be in 0\.\.1"):
        near_duplicates(vectors(0), cosine)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_joined_groups_are_the_finest_that_hold_both(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(each) for each in zip(*pairs, strict=True))
    together = (a[:, None] == a) | (b[:, None] == b)
    reach = np.linalg.matrix_power(together.astype(float), len(a)) > 0
    groups = joined(a, b)
    assert ((groups[:, None] == groups) == reach).all()
