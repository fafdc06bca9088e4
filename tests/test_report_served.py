"""The served gallery and map: every address, against numpy."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_scores import record_of
from PIL import Image
from scipy.stats import rankdata
from starlette.testclient import TestClient

from fmsel.artefacts import sha256_array
from fmsel.cli.app import main
from fmsel.datasets import ImageDataset, Source, load_dataset
from fmsel.datasets.images.dataset import WeakAugment
from fmsel.embeddings.vectors import Embeddings
from fmsel.embeddings.vectors.map import ImageMap, IntArray, image_map
from fmsel.embeddings.vectors.shards import Rows
from fmsel.errors import ArtefactError, DataError, OptionError
from fmsel.metrics.scores import MetricRecord, Scores
from fmsel.report.served import placing
from fmsel.report.served.app import image_app
from fmsel.report.served.collection import Collection
from fmsel.report.served.facts import PAGE
from fmsel.report.served.positions import LEVELS, TILE, Positions, tile_order
from fmsel.report.served.run import collection_of, kept_predictions
from fmsel.report.story.find import find_artefacts
from fmsel.report.story.material import load_material
from fmsel.selection.random import Random
from fmsel.selection.split import Split, make_split
from fmsel.serving import Access

N = 450  # three pages, the last of them short
NAMES = ("cat", "dog & co", "ünicorn")
RNG = np.random.default_rng(0)
LABELS = RNG.integers(-1, 3, N)
SCORES = {"fine": RNG.normal(size=N), "coarse": RNG.integers(0, 5, N)}  # the second has many ties
POINTS = RNG.normal(size=(N, 2)).astype(np.float32) * (3, 1)


def image_set(side: int = 8) -> ImageDataset:
    return ImageDataset(
        name="zoo",
        source=Source(dataset="./zoo"),
        part="train",
        images=RNG.integers(0, 256, (N, side, side, 3)).astype(np.uint8),
        labels=LABELS.copy(),
        ids=np.array([f"{i:03}.png" for i in range(N)]),
        class_names=NAMES,
        weak=WeakAugment(),
    )


def scores_of(data: ImageDataset) -> Scores:
    arrays = {name: values.astype(np.float32) for name, values in SCORES.items()}
    records = {
        name: record_of(array, label_use="none", labels_sha256=data.labels_sha256)
        for name, array in arrays.items()
    }
    return Scores(dataset=data.describe(), arrays=arrays, records=records)


DATA = image_set()
SPLITS = {
    "ten, seed 0": make_split(DATA, Random(), batch_size=10),
    "many": make_split(DATA, Random(), batch_size=300, seed=1),
}
COLLECTION = Collection(
    data=DATA,
    scores=scores_of(DATA),
    splits=SPLITS,
    predicted={"runs/a": np.zeros(N, dtype=np.int64)},
    positions=Positions(points=POINTS, told="at random"),
)


def client(collection: Collection = COLLECTION) -> TestClient:
    app = image_app(collection, Access("127.0.0.1", 80, None))
    return TestClient(app, base_url="http://127.0.0.1:80")


CLIENT = client()


def get(path: str, **words: object) -> Any:
    response = CLIENT.get(path, params={key: str(value) for key, value in words.items()})
    assert response.status_code == 200, response.text
    return response.json()


def expected(words: dict[str, str]) -> list[int]:
    """The indices that a query asks for, one comparison at a time."""
    shown = [
        i
        for i in range(N)
        if words["class"] in ("", *([NAMES[LABELS[i]]] if LABELS[i] >= 0 else []))
        and words["label"] in ("", "known" if LABELS[i] >= 0 else "unknown")
        and (not words["split"] or i in SPLITS[words["split"]].indices)
    ]
    if words["order"] == "index":
        return shown
    if words["order"] == "split":
        return sorted(shown, key=list(SPLITS[words["split"]].indices).index)
    scores = SCORES[words["order"].removeprefix("metric:")]

    def share(i: int) -> float:
        rivals = scores[DATA.labels == LABELS[i]] if words["within"] == "class" else scores
        below, upto = np.sum(rivals < scores[i]), np.sum(rivals <= scores[i])
        return float(below + upto) / (2 * len(rivals))

    typical = sorted(shown, key=lambda i: (-np.float32(share(i)), i))
    return typical if words["first"] == "prototypes" else typical[::-1]


queries = st.fixed_dictionaries(
    {
        "class": st.sampled_from(("", *NAMES)),
        "label": st.sampled_from(("", "known", "unknown")),
        "split": st.sampled_from(("", *SPLITS)),
        "order": st.sampled_from(("index", "split", "metric:fine", "metric:coarse")),
        "within": st.sampled_from(("all", "class")),
        "first": st.sampled_from(("prototypes", "outliers")),
    }
).filter(lambda words: words["split"] or words["order"] != "split")


@given(queries)
def test_the_pages_hold_what_was_asked_for_in_order(words: dict[str, str]) -> None:
    pages = [get("/api/images", **words)]
    pages += [get("/api/images", **words, page=p) for p in range(2, pages[0]["pages"] + 1)]
    found = [image["index"] for page in pages for image in page["images"]]
    wanted = expected(words)
    assert found == wanted
    assert {page["total"] for page in pages} == {len(wanted)}
    assert [page["first"] for page in pages] == list(range(1, len(pages) * PAGE, PAGE))


@given(queries, st.integers(0, N - 1))
def test_the_page_of_an_image_is_found(words: dict[str, str], index: int) -> None:
    page = get("/api/images", **words, at=index)
    wanted = expected(words)
    place = wanted.index(index) if index in wanted else 0
    assert page["page"] == place // PAGE + 1
    assert (index in [image["index"] for image in page["images"]]) == (index in wanted)


def test_a_page_beyond_the_last_is_the_last() -> None:
    assert get("/api/images", page=99)["page"] == 3
    assert len(get("/api/images", page=99)["images"]) == N - 2 * PAGE
    assert get("/api/images", page=7, **{"class": "cat", "label": "unknown"})["images"] == []


def test_what_there_is() -> None:
    about = get("/api/about")
    assert about["n"] == N and about["unknown"] == np.sum(LABELS < 0)
    assert about["classes"] == [
        {"name": name, "count": np.sum(DATA.labels == c)} for c, name in enumerate(NAMES)
    ]
    assert [each["name"] for each in about["metrics"]] == list(SCORES)
    assert [(each["name"], each["count"]) for each in about["splits"]] == [
        ("ten, seed 0", 10),
        ("many", 300),
    ]
    assert about["map"] == {"told": "at random"} and about["no_map"] == ""


def test_the_facts_of_an_image() -> None:
    index = int(SPLITS["ten, seed 0"].indices[4])
    facts = get(f"/api/images/{index}")
    name = NAMES[LABELS[index]] if LABELS[index] >= 0 else None
    assert (facts["id"], facts["class"]) == (f"{index:03}.png", name)
    assert facts["splits"][0] == {"name": "ten, seed 0", "place": 5, "of": 10}
    assert facts["predicted"] == {"runs/a": "cat"}
    fine = SCORES["fine"]
    own = fine[DATA.labels == LABELS[index]]
    assert facts["scores"][0]["percentile"] == pytest.approx(
        100 * (np.sum(fine < fine[index]) + 0.5) / N, abs=0.005
    )
    assert facts["scores"][0]["within"] == pytest.approx(
        100 * (np.sum(own < fine[index]) + 0.5) / len(own), abs=0.005
    )


def test_labels_that_people_gave_are_told_apart_from_the_data_sets() -> None:
    made = Split(
        **DATA.describe(),
        strategy="random",
        parameters={},
        seed=0,
        indices=[3, 5],
        label_use="none",
        class_counts={},
        labels=[1, -1],
    )
    with client(Collection(data=DATA, splits={"people's": made})) as browser:
        labelled = [browser.get(f"/api/images/{i}").json()["splits"] for i in (3, 5)]
        assert browser.get("/api/about").json()["splits"][0]["labelled_by_people"]
    assert [each[0]["labelled"] for each in labelled] == ["dog & co", None]


def test_the_map_holds_every_image_where_it_lies() -> None:
    packed = CLIENT.get("/api/map").content
    x, y = np.frombuffer(packed[: 4 * N], "<u2").reshape(2, N).astype(float)
    order = np.frombuffer(packed[4 * N :], "<u4")
    assert sorted(order) == list(range(N))
    span = np.ptp(POINTS, axis=0).max() / LEVELS
    middle = (POINTS.min(axis=0) + POINTS.max(axis=0)) / 2
    found = (np.stack([x, y], axis=1) - LEVELS / 2) * span + middle
    np.testing.assert_allclose(found, POINTS[order], atol=0.51 * span + 1e-6)


def test_tiles_are_blocks_of_neighbours() -> None:
    grid = np.stack(np.meshgrid(np.arange(64), np.arange(64)), axis=-1).reshape(-1, 2)
    shuffled = grid[np.random.default_rng(1).permutation(len(grid))].astype(np.float32)
    tiles = shuffled[tile_order(shuffled)].reshape(-1, TILE, 2)
    assert (np.ptp(tiles, axis=1) == 7).all()  # 64 images are 8 x 8


@given(st.integers(65, 1000), st.integers(0, 9))
def test_tiles_do_not_overlap_and_only_the_last_is_short(count: int, seed: int) -> None:
    points = np.random.default_rng(seed).random((count, 2)).astype(np.float32)
    ordered = points[tile_order(points)]
    boxes = [(t.min(axis=0), t.max(axis=0)) for t in np.split(ordered, range(TILE, count, TILE))]
    for i, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[:i]:
            assert (low > other_high).any() or (high < other_low).any()


@given(st.integers(1, 300), st.integers(0, 9))
def test_tiles_hold_every_point_once_wherever_they_lie(count: int, seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 3, (count, 2)).astype(np.float32)
    assert sorted(tile_order(points)) == list(range(count))


def test_columns_of_the_map() -> None:
    labels = np.frombuffer(CLIENT.get("/api/labels").content, "<i4")
    np.testing.assert_array_equal(labels, LABELS)
    levels = np.frombuffer(CLIENT.get("/api/percentiles?metric=fine").content, "u1")
    np.testing.assert_allclose(levels / 255, (rankdata(SCORES["fine"]) - 0.5) / N, atol=0.5 / 255)
    places = CLIENT.get("/api/places", params={"split": "ten, seed 0"}).content
    np.testing.assert_array_equal(np.frombuffer(places, "<u4"), SPLITS["ten, seed 0"].index_array)


def cells(content: bytes, count: int, side: int) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture)
    rows = -(-count // 8)
    assert pixels.shape == (rows * side, 8 * side, 3)
    by_cell = pixels.reshape(rows, side, 8, side, 3).transpose(0, 2, 1, 3, 4)
    return by_cell.reshape(rows * 8, side, side, 3)[:count]


def test_sheets_hold_the_pixels_of_the_images() -> None:
    indices = [7, 449, 0, 7, *range(20, 27)]
    path = f"/sheets/{COLLECTION.version}?indices={','.join(map(str, indices))}"
    answer = CLIENT.get(path)
    np.testing.assert_array_equal(cells(answer.content, len(indices), 8), DATA.images[indices])
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    again = CLIENT.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_large_images_are_made_smaller_and_sent_as_jpeg() -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, 200).astype(np.uint8)[:, None], (200, 200))
    pixels = np.broadcast_to(smooth[None, :, :, None], (N, 200, 200, 3)).copy()
    data = ImageDataset(**{**vars_of(DATA), "images": pixels})
    collection = Collection(data=data)
    with client(collection) as browser:
        answer = browser.get(f"/sheets/{collection.version}?indices=0,1,2")
        large = browser.get(f"/large/{collection.version}/0")
    assert answer.headers["content-type"] == "image/jpeg"
    found = cells(answer.content, 3, 96).astype(int)
    assert abs(found[1, :, 40, 0] - np.linspace(0, 255, 96)).max() < 5
    with Image.open(io.BytesIO(large.content)) as picture:
        assert picture.size == (400, 400)  # twice as large: at most 512


def vars_of(data: ImageDataset) -> dict[str, Any]:
    return {name: getattr(data, name) for name in data.__dataclass_fields__}


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/api/images?class=cow", "there is no class 'cow' in zoo"),
        ("/api/images?label=maybe", "label must be known or unknown, got 'maybe'"),
        ("/api/images?split=x", "there is no split 'x' here; there are ten, seed 0, many"),
        ("/api/images?order=split", "order=split needs a split"),
        ("/api/images?order=fine", "order must be index, split, or metric: and the name"),
        ("/api/images?order=metric:x", "there is no metric 'x' here; there are fine, coarse"),
        ("/api/images?within=1", "within must be all or class, got '1'"),
        ("/api/images?first=1", "first must be prototypes or outliers, got '1'"),
        ("/api/images?page=0", "page must be a whole number of 1 or more, got '0'"),
        ("/api/images?page=-1", "page must be a whole number"),
        ("/api/images?page=1e3", "page must be a whole number"),
        ("/api/images?page=٣", "page must be a whole number"),
        ("/api/images?page=99999999999999999999", "page must be a whole number"),
        ("/api/images?at=450", "there is no image 450; they are 0 to 449"),
        ("/api/images?clas=cat", "unknown parameter 'clas'; there are class, label"),
        ("/api/images/450", "there is no image 450"),
        ("/api/images/x", "index must be a whole number of 0 or more, got 'x'"),
        ("/api/percentiles?metric=x", "there is no metric 'x' here"),
        ("/api/percentiles", "there is no metric '' here"),
        ("/api/places?split=x", "there is no split 'x' here"),
        (f"/sheets/{COLLECTION.version}", "index must be a whole number"),
        (f"/sheets/{COLLECTION.version}?indices=1,,2", "index must be a whole number"),
        (f"/sheets/{COLLECTION.version}?indices=" + ",".join("1" * 65), "at most 64 thumbnails"),
        ("/sheets/0123?indices=1", "other images are served here now; reload the page"),
        ("/large/0123/1", "other images are served here now"),
    ],
)
def test_bad_parameters_are_answered_with_a_sentence(path: str, sentence: str) -> None:
    answer = CLIENT.get(path)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]


def test_without_scores_splits_labels_or_map() -> None:
    data = ImageDataset(
        **{**vars_of(DATA), "labels": np.full(N, -1), "class_names": ()},
    )
    with client(Collection(data=data, no_map="There is no map: no embeddings.")) as browser:
        about = browser.get("/api/about").json()
        assert (about["classes"], about["metrics"], about["splits"]) == ([], [], [])
        assert browser.get("/api/images").json()["images"][0]["class"] is None
        assert browser.get("/api/map").json()["error"] == "There is no map: no embeddings."
        assert "there are none" in browser.get("/api/places?split=x").json()["error"]


def test_the_page_needs_nothing_from_elsewhere_and_only_itself_may_read_it() -> None:
    page = CLIENT.get("/?view=map")
    assert page.headers["content-type"].startswith("text/html") and "http" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert CLIENT.get("/static/main.js").headers["content-type"].startswith("text/javascript")
    assert CLIENT.get("/static/..%2f__init__.py").status_code == 404
    assert CLIENT.get("/", headers={"Host": "evil.example:80"}).status_code == 421
    assert CLIENT.post("/api/images", json={}).status_code == 405


def vectors(data: ImageDataset, seed: int = 0) -> Embeddings:
    features = np.random.default_rng(seed).normal(size=(len(data), 4)).astype(np.float32)
    return Embeddings(
        dataset=data.describe(),
        features=features,
        encoder="patches",
        parameters={},
        seed=0,
        uses_labels=False,
    )


def test_positions_are_kept_beside_the_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def smaller(features: Rows, wanted: IntArray, *, seed: int) -> ImageMap:
        calls.append(seed)
        return image_map(features, wanted, seed=seed, most=60, others=0)

    monkeypatch.setattr("fmsel.report.served.placing.image_map", smaller)
    path = placing.map_path(tmp_path / "zoo-patches.npy")
    first = placing.positions_by(vectors(DATA), path)
    again = placing.positions_by(vectors(DATA), path)
    assert len(calls) == 1
    np.testing.assert_array_equal(first.points, again.points)
    assert first.told == again.told and "It placed 60 images" in first.told
    placing.positions_by(vectors(DATA, seed=1), path)  # of other vectors
    path.write_bytes(path.read_bytes()[:100])
    placing.positions_by(vectors(DATA, seed=1), path)  # broken
    assert len(calls) == 3
    with pytest.warns(UserWarning, match="the map is not kept"):
        placing.positions_by(vectors(DATA), tmp_path / "zoo-patches-map.npz" / "x.npz")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("project")
def test_artefacts_of_one_data_set_come_together() -> None:
    digits = load_dataset("digits")
    for budget in (10, 20):
        assert (
            main(
                ["split", "--random", str(budget), "--dataset", "digits", "--out", f"{budget}.json"]
            )
            == 0
        )
    for stem in ("a", "b"):
        array = np.arange(len(digits), dtype=np.float32)
        record = scores_of(DATA).records["fine"]
        record = MetricRecord(**{**vars(record), "sha256": sha256_array(array)})
        Scores(dataset=digits.describe(), arrays={"agr": array}, records={"agr": record}).save(
            Path(f"{stem}.npz")
        )
    paths = [Path(name) for name in ("10.json", "20.json", "a.npz", "b.npz")]
    found = collection_of(load_material(find_artefacts(paths)))
    assert len(found) == len(digits) and found.metrics == ("agr", "b: agr")
    assert [len(split) for split in found.splits.values()] == [10, 20]
    assert found.positions is None and "fmsel embed digits" in found.no_map
    Path("zoo/train").mkdir(parents=True)
    for i in range(4):
        Image.new("RGB", (8, 8), (60 * i, 0, 0)).save(f"zoo/train/{i}.png")
    assert main(["split", "--random", "2", "--dataset", "./zoo", "--out", "zoo.json"]) == 0
    with pytest.raises(OptionError, match="these artefacts are of digits and of zoo"):
        collection_of(load_material(find_artefacts([Path("10.json"), Path("zoo.json")])))
    Path("zoo").rename("moved")
    with pytest.raises(DataError, match="--data-root"):
        collection_of(load_material(find_artefacts([Path("zoo.json")])))


@pytest.mark.usefixtures("project")
def test_predictions_that_a_run_keeps_are_shown_if_they_are_of_the_images() -> None:
    probabilities = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, N)]
    for run, sha256 in (("mine", DATA.images_sha256), ("other", "0" * 64)):
        Path(run).mkdir()
        header = np.array(json.dumps({"images_sha256": sha256}))
        np.savez(Path(run, "outputs.npz"), header=header, probabilities=probabilities)
    Path("broken").mkdir()
    Path("broken/outputs.npz").write_bytes(b"PK")
    found = kept_predictions([Path(run) for run in ("mine", "other", "broken", "none")], DATA)
    assert list(found) == ["mine"]
    np.testing.assert_array_equal(np.eye(3)[found["mine"]], probabilities)


@pytest.mark.usefixtures("project")
def test_a_split_that_is_not_of_the_images_is_refused() -> None:
    assert main(["split", "--random", "10", "--dataset", "digits", "--out", "10.json"]) == 0
    text = Path("10.json").read_text()
    counts = text.index('"class_counts"')
    Path("10.json").write_text(
        text[:counts] + text[counts:].replace(": 1", ": 9", 1).replace(": 0", ": 9", 1)
    )
    with pytest.raises(ArtefactError, match=r"10\.json counts"):
        collection_of(load_material(find_artefacts([Path("10.json")])))
