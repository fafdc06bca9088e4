"""What the page of `fmsel label` is told of images."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_client import DIGITS, opened, photos
from PIL import Image

from fmsel.datasets import load_dataset
from fmsel.embeddings.vectors.make import embed_dataset
from fmsel.selection.random import Random
from fmsel.selection.split import make_split

pytest_plugins = ["label_client"]
pytestmark = pytest.mark.usefixtures("label_project")


def pixels(content: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize(("side", "k"), [(32, 4), (64, 8), (100, 12), (512, 24), (1024, 24)])
def test_small_images_are_enlarged_by_whole_blocks(side: int, k: int) -> None:
    with opened() as (_, client):
        response = client.get(f"/images/5?side={side}")
        assert response.headers["content-type"] == "image/png"
        assert (pixels(response.content) == DIGITS.images[5].repeat(k, 0).repeat(k, 1)).all()
        assert client.get("/images/5").content == client.get("/images/5?side=512").content


@pytest.mark.parametrize("side", ["31", "1025", "-5", "0", "1e2", "", "²", "9" * 5000])
def test_other_sides_are_refused(side: str) -> None:
    with opened() as (_, client):
        assert client.get("/images/5", params={"side": side}).status_code == 422


def test_an_image_is_not_sent_again_unless_it_is_another() -> None:
    with opened() as (_, client):
        tag = client.get("/images/5").headers["etag"]
        again = client.get("/images/5", headers={"if-none-match": tag})
        assert again.status_code == 304 and not again.content
        assert again.headers["cache-control"] == "private, no-cache"
        for path in ("/images/6", "/images/5?side=64"):
            assert client.get(path, headers={"if-none-match": tag}).status_code == 200


def test_photographs_are_shown_upright_smaller_and_without_what_their_files_tell(
    tmp_path: Path,
) -> None:
    photos(tmp_path / "photos", classes="cat\ndog\n", side=128)
    data = load_dataset(str(tmp_path / "photos"), resize=32)
    original = Image.new("RGB", (600, 300), "red")
    original.paste((0, 0, 255), (0, 0, 300, 300))  # blue left, red right
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: blue comes to the top
    exif[0x010E] = "taken at home"
    original.save(tmp_path / "photos/img_0.png", exif=exif)
    original.save(tmp_path / "photos/img_1.jpg", exif=exif, quality=95)
    (tmp_path / "photos/img_1.png").unlink()
    data = load_dataset(str(tmp_path / "photos"), resize=32)
    make_split(data, Random(), batch_size=4, seed=0).save(Path("splits/photos.json"), force=True)
    with opened("splits/photos.json") as (_, client):
        for index in (0, 1):
            assert str(data.ids[index]).startswith(f"img_{index}")
            response = client.get(f"/images/{index}?side=200")
            assert response.headers["content-type"] == "image/jpeg"
            assert b"Exif" not in response.content and b"home" not in response.content
            shown = pixels(response.content).astype(int)
            assert shown.shape == (200, 100, 3)
            assert abs(shown[20, 50] - [0, 0, 255]).max() < 20
            assert abs(shown[180, 50] - [255, 0, 0]).max() < 20
            assert pixels(client.get(f"/images/{index}?side=1024").content).shape == (600, 300, 3)
        (tmp_path / "photos/img_1.jpg").write_bytes(b"broken")
        shown = pixels(client.get("/images/1?side=64").content)  # what is trained on
        assert (shown == data.images[1].repeat(2, 0).repeat(2, 1)).all()


def test_details_are_those_of_brute_force(tmp_path: Path) -> None:
    embeddings = embed_dataset(DIGITS, "patches", device="cpu")
    embeddings.save(Path("embeddings/digits-patches.npy"))
    vectors = np.asarray(embeddings.features, dtype=np.float64)
    with opened() as (task, client):
        assert client.get("/api/task").json()["has_neighbours"] is True
        index = task.indices[0]
        apart = np.sqrt(((vectors - vectors[index]) ** 2).sum(axis=1))
        apart[index] = np.inf
        nearest = np.argsort(apart, kind="stable")[:8]
        found = client.get(f"/api/details/{index}").json()
        assert found["index"] == index and found["scores"] == []
        assert [each["index"] for each in found["neighbours"]] == nearest.tolist()
        told = [each["distance"] for each in found["neighbours"]]
        assert np.allclose(told, apart[nearest], atol=1e-3)
        assert {each["label"] for each in found["neighbours"]} == {None}  # hidden ones stay so


def test_a_neighbour_has_the_label_that_people_gave() -> None:
    with opened() as (task, _):
        first, second, third, *_ = task.indices
        for name, index, choice in (
            ("ann", first, "3"),
            ("bob", first, "3"),
            ("cy", first, "4"),
            ("ann", second, "3"),
            ("bob", second, "4"),  # a tie
            ("ann", third, "unsure"),
        ):
            task.ledger.answer(name, index, choice)
        assert [task.label(index) for index in (first, second, third, 0)] == ["3", None, None, None]
