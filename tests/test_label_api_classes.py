"""Classes that people add while they label."""

from pathlib import Path
from typing import Any

import pytest
from label_client import answer, opened, photos, send

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.errors import ArtefactError, OptionError
from fmsel.labeling import read_answers
from fmsel.labeling.page.run import Options, prepare
from fmsel.selection.random import Random
from fmsel.selection.split import Split, make_split

pytest_plugins = ["label_client"]
pytestmark = pytest.mark.usefixtures("label_project")


def test_classes_are_added_by_people_and_kept_beside_the_images(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    file = tmp_path / "photos/classes.txt"
    with opened("splits/photos.json") as (task, client):
        described = client.get("/api/task").json()
        assert described["classes"] == [] and described["may_add_classes"] is True
        order = task.indices
        added = send(client, "/api/classes", name="  cat ", annotator="ann")
        assert added == {"classes": ["cat"]} and not file.exists()  # a data set has two or more
        answer(client, order[0], "cat")
        refused = send(client, "/api/finish", 409, annotator="ann")
        assert "1 class is named so far" in refused["error"]
    with opened("splits/photos.json") as (task, client):  # killed in between
        assert client.get("/api/task").json()["classes"] == ["cat"]
        send(client, "/api/classes", name="Sea otter", annotator="bob")
        assert file.read_text() == "cat\nSea otter\n"
        for index in order[1:]:
            answer(client, index, "Sea otter")
        made = Split.load(Path("splits/photos-labelled.json"))
        assert made.labels == [0, 1, 1, 1] and made.class_counts == {"cat": 1, "Sea otter": 3}
        for name in ("CAT", "sea OTTER"):
            assert "already" in send(client, "/api/classes", 409, name=name, annotator="a")["error"]
        for odd in ("", " ", "skip", "Unsure", "none of these", "a\nb", "x" * 81, 3, None):
            send(client, "/api/classes", 422, name=odd, annotator="a")
        assert file.read_text() == "cat\nSea otter\n"
    data = load_dataset(str(tmp_path / "photos"))
    assert data.class_names == ("cat", "Sea otter")
    made.check(data, "made")


def test_classes_may_be_added_to_a_split_that_has_labels(tmp_path: Path) -> None:
    photos(tmp_path / "photos", classes="cat\ndog\n")
    labelled = Path("splits/photos-labelled.json")
    with opened("splits/photos.json") as (task, client):
        answer(client, task.indices[0], "dog")
        send(client, "/api/finish", annotator="ann")
    before = Split.load(labelled)
    with opened(str(labelled)) as (task, client):
        assert client.get("/api/task").json()["may_add_classes"] is True
        assert task.indices == before.indices[1:]
        send(client, "/api/classes", name="fox", annotator="ann")
        for index in task.indices:
            answer(client, index, "fox")
    made = Split.load(Path("splits/photos-labelled-labelled.json"))
    assert made.labels == [1, 2, 2, 2] and made.class_counts == {"cat": 0, "dog": 1, "fox": 3}
    data = load_dataset(str(tmp_path / "photos"))
    assert data.class_names == ("cat", "dog", "fox")
    for split in (before, made):
        split.check(data, "the split")
    for names in ("dog\ncat\nfox\n", "cat\nfox\ndog\n", "cat\nox\n"):
        (tmp_path / "photos/classes.txt").write_text(names)
        with pytest.raises(ArtefactError, match="put the names back as they were, in this order"):
            made.check(load_dataset(str(tmp_path / "photos")), "the split")


def test_images_that_are_gone_are_told(tmp_path: Path) -> None:
    photos(tmp_path / "photos", classes="cat\ndog\n")
    with opened("splits/photos.json") as (task, client):
        answer(client, task.indices[0], "cat")
        (tmp_path / "photos").rename(tmp_path / "elsewhere")
        assert "cannot be opened" in send(client, "/api/finish", 409, annotator="ann")["error"]
        assert client.get(f"/images/{task.indices[1]}").status_code == 200  # those in memory
        (tmp_path / "elsewhere").rename(tmp_path / "photos")
        send(client, "/api/finish", annotator="ann")


def test_classes_of_a_loop_stay_as_it_began_with_them(tmp_path: Path) -> None:
    photos(tmp_path / "photos", classes="cat\ndog\n")
    asked = tmp_path / "loop/tracks/random-seed0/round-0/asked.json"
    asked.parent.mkdir(parents=True)
    Path("splits/photos.json").rename(asked)
    with opened(str(asked)) as (_, client):
        assert client.get("/api/task").json()["may_add_classes"] is True  # a name alone is no loop
    (tmp_path / "loop/loop.json").write_text("{}")
    with opened(str(asked)) as (_, client):
        assert client.get("/api/task").json()["may_add_classes"] is False
        send(client, "/api/classes", 403, name="fox", annotator="ann")


def test_everybody_is_told_how_many_classes_there_are(tmp_path: Path) -> None:
    photos(tmp_path / "photos", classes="cat\ndog\n")
    with opened("splits/photos.json") as (task, client):
        send(client, "/api/classes", name="fox", annotator="bob")
        first = task.indices[0]
        body: dict[str, Any] = {"annotator": "ann", "from": None, "count": 1, "skip": []}
        claimed = send(client, "/api/claim", **body)
        assert claimed == {"indices": [first], "done": 0, "n_classes": 3}
        assert answer(client, first, "fox")["n_classes"] == 3
        assert client.get("/api/items").json()["n_classes"] == 3


def test_classes_that_others_add_meanwhile_are_kept(tmp_path: Path) -> None:
    photos(tmp_path / "photos", classes="cat\ndog\n")
    file = tmp_path / "photos/classes.txt"
    with opened("splits/photos.json", classes=["dog", "cat"]) as (task, client):
        file.write_text("cat\ndog\nfox\n")  # another label server
        assert task.classes.names == ("cat", "dog")
        added = send(client, "/api/classes", name="gnu", annotator="ann")
        assert added["classes"] == ["cat", "dog", "fox", "gnu"]
        assert file.read_text() == "cat\ndog\nfox\ngnu\n"
        for index in task.indices:
            answer(client, index, "gnu")
        assert Split.load(Path("splits/photos-labelled.json")).labels == [3, 3, 3, 3]


def test_named_classes_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    before = sorted(tmp_path.rglob("*"))
    for names, sentence in (
        (["cat"], "must name 2 or more"),
        (["cat", "Cat"], "names 'Cat' twice"),
        (["cat", ""], "a class is named by 1 to 80 characters"),
        (["cat", "skip"], "is no name for a class"),
    ):
        with pytest.raises(OptionError, match=sentence):
            prepare(Path("splits/photos.json"), Options(classes=names))
        assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(OptionError, match="'cat' is no class of digits, whose classes are 0, 1"):
        prepare(Path("splits/random.json"), Options(classes=["cat"], everything=True))
    with opened("splits/photos.json", classes=["cat", "dog"]):
        assert (tmp_path / "photos/classes.txt").read_text() == "cat\ndog\n"
    with opened(classes=["3", "4"]) as (_, client):  # classes of the data set, which has more
        refused = send(client, "/api/classes", 403, name="cat", annotator="ann")
        assert refused["error"] == "the classes of digits are given"


def test_class_folders_are_not_told_by_an_image_s_id(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        photos(tmp_path / "sorted" / name)
    data: ImageDataset = load_dataset(str(tmp_path / "sorted"))
    make_split(data, Random(), batch_size=4, seed=0).save(Path("splits/sorted.json"))
    with opened("splits/sorted.json", everything=True) as (task, client):
        text = client.get("/api/items?annotator=a").text
        text += client.get(f"/api/details/{task.indices[0]}").text
        assert "cat" not in text and "dog" not in text
        answer(client, task.indices[0], "cat")
    read = read_answers(Path("splits/sorted-answers.jsonl")).answers
    assert read[0].id == str(data.ids[task.indices[0]])  # by which it is found again
