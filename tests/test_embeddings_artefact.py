"""The embeddings artefact, the user's own vectors, PCA and neighbours, against other code."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from fmsel.datasets import ImageDataset, Source, WeakAugment
from fmsel.embeddings.patches import encode
from fmsel.embeddings.vectors import Embeddings, neighbours
from fmsel.embeddings.vectors.imported import import_embeddings
from fmsel.embeddings.vectors.make import embed_dataset, encoder_names
from fmsel.embeddings.vectors.neighbours import nearest_neighbours
from fmsel.embeddings.vectors.reduce import Reduction, principal_components, whiten
from fmsel.errors import ArtefactError, OptionError, OutputError

N, D = 30, 5


def images(seed: int = 0, count: int = N) -> ImageDataset:
    rng = np.random.default_rng(seed)
    return ImageDataset(
        name=f"noise{seed}",
        source=Source(dataset=f"./noise{seed}"),
        part="train",
        images=rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8),
        labels=np.full(count, -1),
        ids=np.array([f"{i}.png" for i in rng.permutation(count)]),
        class_names=(),
        weak=WeakAugment(),
    )


def vectors(seed: int = 0, count: int = N, width: int = D) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, (count, width)).astype(np.float32)


def made(data: ImageDataset) -> Embeddings:
    return Embeddings(
        dataset=data.describe(),
        features=vectors(),
        encoder="dino",
        parameters={"patch": 14},
        seed=3,
        uses_labels=True,
    )


def test_round_trip_is_memory_mapped_and_readable_by_a_person(tmp_path: Path) -> None:
    data, path = images(), tmp_path / "noise-dino.npy"
    first = made(data)
    first.save(path)
    again = Embeddings.load(path)
    assert isinstance(again.features, np.memmap) and not again.features.flags.writeable
    np.testing.assert_array_equal(again.features, first.features)
    np.testing.assert_array_equal(np.load(path), first.features)
    for name in ("dataset", "encoder", "parameters", "seed", "uses_labels", "made_with"):
        assert getattr(again, name) == getattr(first, name), name
    header = json.loads(path.with_suffix(".json").read_text())
    assert header["shape"] == [N, D] and header["dataset"]["images_sha256"] == data.images_sha256
    again.check(data, str(path))
    again.check(replace(data, labels=np.zeros(N, np.int64), class_names=("a",)), str(path))


def test_other_images_are_refused_by_both_names() -> None:
    with pytest.raises(ArtefactError, match=r"30 images of noise0, not of these 31 .* of noise1"):
        made(images()).check(images(1, 31), "file.npy")


def test_either_file_is_only_replaced_by_force(tmp_path: Path) -> None:
    path = tmp_path / "e.npy"
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(OutputError, match=r"e\.json already exists; pass --force"):
        made(images()).save(path)
    made(images()).save(path, force=True)
    with pytest.raises(OutputError, match=r"e\.npy already exists; pass --force"):
        made(images()).save(path)
    with pytest.raises(OptionError, match=r"written as \.npy"):
        made(images()).save(tmp_path / "e.bin")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda path: np.save(path, vectors(1)), "does not match the sha256 recorded in e.json"),
        (lambda path: np.save(path, vectors(0, 29)), "must be float32 of shape"),
        (lambda path: np.save(path, vectors().astype(np.float64)), "must be float32"),
        (lambda path: path.write_bytes(b"no array"), "not a readable .npy file"),
        (lambda path: path.unlink(), "make one with `fmsel embed"),
        (lambda path: path.with_suffix(".json").unlink(), "with a .json of the same name beside"),
        (lambda path: path.with_suffix(".json").write_text("["), "description of embeddings"),
        (lambda path: path.with_suffix(".json").write_text('{"schema": 9}'), "has schema 9"),
        (
            lambda path: path.with_suffix(".json").write_text('{"schema": 1}'),
            "does not describe embeddings .KeyError",
        ),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, harm: object, sentence: str) -> None:
    path = tmp_path / "e.npy"
    made(images()).save(path)
    assert callable(harm)
    harm(path)
    with pytest.raises(ArtefactError, match=sentence):
        Embeddings.load(path)


def test_encoder_is_computed_with_its_parameters() -> None:
    data = images()
    found = embed_dataset(data, "patches", Reduction(pca=4), seed=2, device="cpu")
    assert found.parameters["features"] == 3072 and found.parameters["pca"] == 4
    assert not found.uses_labels and found.features.shape == (N, 4)
    plain = embed_dataset(data, "patches", seed=2, device="cpu")
    np.testing.assert_array_equal(plain.features, encode(data.images, seed=2))
    with pytest.raises(OptionError, match=r"unknown encoder 'dino'; the encoders are .*patches"):
        embed_dataset(data, "dino")


@pytest.mark.parametrize("encoder", [name for name in encoder_names() if ":" not in name])
def test_every_encoder_can_be_kept(encoder: str) -> None:
    epochs = 2 if encoder == "simclr" else None
    found = embed_dataset(images(), encoder, epochs=epochs, device="cpu")
    assert found.encoder == encoder and found.features.shape == (N, found.parameters["features"])


def written(folder: Path, form: str, rows: np.ndarray, ids: np.ndarray) -> tuple[Path, str | None]:
    """A file of `rows` and `ids` in one of the forms, and what --ids must say."""
    path = folder / ("v.parquet" if form.startswith("parquet") else f"v.{form[:3]}")
    if form in ("npy+txt", "npy+npy"):
        np.save(path, rows)
        beside = folder / f"ids.{form[4:]}"
        if form == "npy+txt":
            beside.write_text("\n".join(ids) + "\n")
        else:
            np.save(beside, ids.astype("S"))
        return path, str(beside)
    if form == "npz":
        np.savez(path, features=rows.astype(np.float64), ids=ids, labels=np.zeros(len(ids)))
        return path, None
    columns: dict[str, object] = {f"f{i}": rows[:, i] for i in range(rows.shape[1])}
    if form == "parquet lists":
        columns = {"vector": list(rows.astype(np.float16)), "label": np.zeros(len(ids))}
    if form == "parquet fixed":
        columns = {"vector": pa.FixedSizeListArray.from_arrays(rows.ravel(), rows.shape[1])}
    # Small row groups come back as many chunks.
    parquet.write_table(pa.table({**columns, "name": ids}), path, row_group_size=7)
    return path, "name"


FORMS = ("npy+txt", "npy+npy", "npz", "parquet lists", "parquet fixed", "parquet columns")


@pytest.mark.parametrize("form", FORMS)
def test_rows_in_any_order_come_back_in_the_data_sets(tmp_path: Path, form: str, seed: int) -> None:
    data, rows = images(), vectors()
    shuffled = np.random.default_rng(seed).permutation(N)
    path, ids = written(tmp_path, form, rows[shuffled], data.ids[shuffled])
    found = import_embeddings(data, path, ids)
    expected = rows.astype(np.float16) if form == "parquet lists" else rows
    np.testing.assert_array_equal(found.features, expected)
    assert found.features.dtype == np.float32 and found.parameters["matched_by_id"]
    assert (found.encoder, found.parameters["file"]) == ("v", path.name)


def test_without_ids_the_order_is_taken_and_said(tmp_path: Path) -> None:
    data, said = images(), list[str]()
    np.save(tmp_path / "v.npy", vectors())
    found = import_embeddings(data, tmp_path / "v.npy", say=said.append)
    np.testing.assert_array_equal(found.features, vectors())
    assert f"taken in the order of noise0, from {data.ids[0]} to {data.ids[-1]}" in said[0]


def test_whole_numbers_are_ids_too(tmp_path: Path) -> None:
    data = replace(images(), ids=np.arange(N).astype(np.str_))
    table = {"id": np.arange(N)[::-1], "vector": list(vectors())}
    parquet.write_table(pa.table(table), tmp_path / "v.parquet")
    found = import_embeddings(data, tmp_path / "v.parquet")
    np.testing.assert_array_equal(found.features, vectors()[::-1])


@pytest.mark.parametrize(("count", "width"), [(40, 12), (12, 40)])
def test_principal_components_are_those_of_a_singular_value_decomposition(
    count: int, width: int, seed: int
) -> None:
    rows = vectors(seed, count, width)
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    found, explained = principal_components(rows, 4, seed=0)
    assert explained == pytest.approx((s[:4] ** 2).sum() / (s**2).sum(), rel=1e-4)
    np.testing.assert_allclose(np.abs(found), np.abs(u[:, :4] * s[:4]), atol=1e-3)
    np.testing.assert_allclose(np.cov(whiten(found).T), np.eye(4), atol=0.1)


def test_whitening_leaves_empty_components_small() -> None:
    flat = vectors() * np.array([4, 2, 1, 1e-5, 0], np.float32)
    flat -= flat.mean(axis=0)
    scaled = whiten(flat)
    np.testing.assert_allclose(scaled[:, :3].std(axis=0), 1, rtol=1e-4)
    assert np.isfinite(scaled).all() and (scaled[:, 3:].std(axis=0) < 0.01).all()


def test_normalised_rows_are_those_of_scikit_learn() -> None:
    found, record = Reduction(normalise=True).apply(vectors(), seed=0)
    np.testing.assert_allclose(found, normalize(vectors()), rtol=1e-6)
    assert record == {"normalised": True}


@given(st.integers(0, 1000), st.integers(2, 40), st.integers(1, 8))
def test_neighbours_are_those_of_a_brute_force_search(seed: int, count: int, width: int) -> None:
    """Also far from the origin, and with copies of one vector among the others."""
    rows = vectors(seed, count, width) + 100
    rows[: count // 2] = rows[0]
    k = min(6, count - 1)
    found = nearest_neighbours(rows, k)
    truth = np.sort(cdist(rows.astype(np.float64), rows) + np.diag(np.full(count, np.inf)), axis=1)
    np.testing.assert_allclose(found.distances, truth[:, :k], rtol=1e-3, atol=1e-3)
    assert (found.distances[: count // 2, : max(0, min(k, count // 2 - 1))] == 0).all()
    for i, each in enumerate(found.indices):
        assert i not in each and len(set(each)) == k
        apart = np.linalg.norm(rows[each] - rows[i], axis=1)
        np.testing.assert_allclose(found.distances[i], apart, rtol=1e-5)


def test_inexact_search_finds_what_it_says(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 100)
    rng = np.random.default_rng(seed)
    rows = (rng.normal(0, 5, (20, 8))[rng.integers(0, 20, 3000)]).astype(np.float32)
    rows += rng.normal(0, 1, rows.shape).astype(np.float32)
    found = nearest_neighbours(rows, 10)
    truth = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(rows).kneighbors()[1]
    hits = np.mean(
        [len(np.intersect1d(f, t)) / 10 for f, t in zip(found.indices, truth, strict=True)]
    )
    assert 0.95 <= found.recall < 1
    assert hits == pytest.approx(found.recall, abs=0.02)
    assert (found.indices >= 0).all()
