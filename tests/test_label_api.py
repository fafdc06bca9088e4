"""The page's HTTP interface, as its contract says it."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.embeddings.vectors.make import embed_dataset
from fmsel.errors import ArtefactError, OptionError, OutputError
from fmsel.labeling import read_answers
from fmsel.labeling.page.app import label_app
from fmsel.labeling.page.run import Options, prepare
from fmsel.labeling.page.task import Task
from fmsel.selection.random import Random
from fmsel.selection.split import Split, make_split
from fmsel.serving import Access
from fmsel.serving.app import HEADERS

ACCESS = Access("127.0.0.1", 8000, None)
DIGITS = load_dataset("digits")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with splits/random.json, six digits."""
    monkeypatch.chdir(tmp_path)
    make_split(DIGITS, Random(), batch_size=6, seed=0).save(Path("splits/random.json"))
    return tmp_path


@contextmanager
def opened(path: str = "splits/random.json", **options: Any) -> Iterator[tuple[Task, TestClient]]:
    task = prepare(Path(path), Options(**({"everything": path.endswith("random.json")} | options)))
    client = TestClient(
        label_app(task, ACCESS), base_url="http://127.0.0.1:8000", raise_server_exceptions=True
    )
    try:
        yield task, client
    finally:
        task.outcome.journal.close()


def task_id(client: TestClient) -> str:
    return str(client.get("/api/task").json()["id"])


def send(client: TestClient, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
    response = client.post(path, json={"task": task_id(client), **body})
    assert response.status_code == status, response.text
    answer: dict[str, Any] = response.json()
    assert status == 200 or set(answer) <= {"error", "current", "task"}
    return answer


def answer(
    client: TestClient, index: int, choice: str | None, annotator: str = "ann", **more: Any
) -> dict[str, Any]:
    return send(client, "/api/answers", annotator=annotator, index=index, choice=choice, **more)


def told(done: int) -> dict[str, int]:
    """What comes with an answer's number."""
    return {"done": done, "total": 6, "n_classes": 10}


def items(client: TestClient, annotator: str | None = "ann") -> list[dict[str, Any]]:
    query = {} if annotator is None else {"annotator": annotator}
    found = client.get("/api/items", params=query).json()
    assert found["total"] == len(found["items"])
    return list(found["items"])


def photos(folder: Path, *, classes: str = "", count: int = 8, side: int = 40) -> Split:
    """A folder without classes, and a split of half of its images at `splits/photos.json`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"img_{number}.png")
    if classes:
        (folder / "classes.txt").write_text(classes)
    split = make_split(load_dataset(str(folder)), Random(), batch_size=count // 2, seed=0)
    split.save(Path("splits/photos.json"), force=True)
    return split


def test_a_task_describes_itself() -> None:
    with opened() as (task, client):
        assert client.get("/api/task").json() == {
            "id": task.id,
            "title": "splits/random.json",
            "dataset": "digits",
            "total": 6,
            "classes": [str(number) for number in range(10)],
            "may_add_classes": False,
            "no_class": ["none of these", "unsure"],
            "votes": 1,
            "has_neighbours": False,
            "has_scores": False,
            "out": "splits/random-labelled.json",
        }


def test_an_answer_is_saved_seen_undone_and_seen_by_others() -> None:
    with opened() as (task, client):
        first, second, *_ = task.indices
        assert [item["index"] for item in items(client)] == list(task.split.indices)
        assert items(client)[0] == {
            "index": first,
            "id": str(DIGITS.ids[first]),
            "answer": None,
            "votes": 0,
            "held_by": None,
        }
        assert answer(client, first, "3") == {"seq": 1, **told(1)}
        assert answer(client, second, "skip") == {"seq": 2, **told(1)}
        assert items(client)[0]["answer"] == {"choice": "3", "seq": 1}
        assert items(client, "bob")[0] | {"answer": None, "votes": 1} == items(client, None)[0]
        assert answer(client, first, "unsure", replaces=1)["seq"] == 3
        assert answer(client, first, None, replaces=3) == {"seq": 4, **told(0)}
        assert items(client)[0]["answer"] is None and items(client)[1]["votes"] == 0
    read = read_answers(Path("splits/random-answers.jsonl")).answers
    assert [(each.index, each.choice, each.annotator) for each in read] == [(second, "skip", "ann")]


def test_two_tabs_do_not_overwrite_each_other() -> None:
    with opened() as (task, client):
        index = task.indices[0]
        answer(client, index, "3")
        body = {"annotator": "ann", "index": index, "choice": "4"}
        for replaces in (None, 2, 0):
            refused = send(client, "/api/answers", 409, **body, replaces=replaces)
            assert refused["current"] == {"choice": "3", "seq": 1} and refused["error"]
        assert len(task.outcome.journal.entries) == 1
        answer(client, index, "4", annotator="bob")  # somebody else's is another answer
        body |= {"index": task.indices[1], "choice": None}
        assert send(client, "/api/answers", 409, **body)["current"] is None  # nothing to withdraw
        assert items(client)[0]["votes"] == 2


def test_an_answer_that_is_sent_again_is_saved_once() -> None:
    with opened() as (task, client):
        once = answer(client, task.indices[0], "3", key="k1")
        assert answer(client, task.indices[0], "3", key="k1") == once
        assert len(task.outcome.journal.entries) == 1
    with opened() as (task, client):  # the server was started again meanwhile
        assert answer(client, task.indices[0], "3", key="k1") == once


def test_a_page_of_another_split_changes_nothing() -> None:
    make_split(DIGITS, Random(), batch_size=6, seed=1).save(Path("splits/other.json"))
    with opened("splits/other.json", everything=True) as (_, client):
        other = task_id(client)
    with opened() as (task, client):
        assert task_id(client) == task.id != other
        body = {
            "annotator": "ann",
            "index": task.indices[0],
            "choice": "3",
            "count": 2,
            "name": "x",
        }
        for path in ("answers", "claim", "classes", "finish"):
            refused = send(client, f"/api/{path}", 409, **body, task=other)
            assert refused == {"error": "another split is served here now", "task": task.id}
        assert client.get(f"/api/items?annotator=ann&task={other}").status_code == 409
        assert client.get(f"/api/items?annotator=ann&task={task.id}").status_code == 200
        assert not task.outcome.journal.entries and not task.ledger.desk.holders(None)
        assert not Path("splits/random-labelled.json").exists()
        first = task.id
    with opened() as (task, _):  # nothing is left of the first journal
        assert task.id == first
    with opened(journal=Path("elsewhere.jsonl")) as (task, _):
        assert task.id not in (first, other)


def test_images_are_claimed_in_order_and_by_one_person_at_a_time() -> None:
    with opened() as (task, client):
        order = task.indices
        body: dict[str, Any] = {"annotator": "ann", "from": None, "count": 2, "skip": []}
        assert send(client, "/api/claim", **body)["indices"] == order[:2]
        body |= {"annotator": "bob", "count": 200}
        assert send(client, "/api/claim", **body)["indices"] == order[2:]
        assert [item["held_by"] for item in items(client)] == [None] * 2 + ["bob"] * 4
        body |= {"annotator": "cy", "from": order[4], "count": 2, "skip": order[:1]}
        assert send(client, "/api/claim", **body)["indices"] == [order[5], order[1]]
        for index in order:
            answer(client, index, "unsure", annotator="bob")
        assert send(client, "/api/claim", **body)["indices"] == []


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("answers", {"annotator": ""}),
        ("answers", {"annotator": " \t "}),
        ("answers", {"annotator": "x" * 81}),
        ("answers", {"annotator": "a\nb"}),
        ("answers", {"annotator": "\ud800"}),
        ("answers", {"annotator": 3}),
        ("answers", {"annotator": None}),
        ("answers", {"index": -1}),
        ("answers", {"index": "0"}),
        ("answers", {"index": True}),
        ("answers", {"index": 0.0}),
        ("answers", {"index": 10**30}),
        ("answers", {"index": None}),
        ("answers", {"choice": "10"}),
        ("answers", {"choice": "Unsure"}),
        ("answers", {"choice": 3}),
        ("answers", {"choice": ["3"]}),
        ("answers", {"choice": "\ud800"}),
        ("answers", {"replaces": "1"}),
        ("answers", {"replaces": True}),
        ("answers", {"key": ""}),
        ("answers", {"key": "x" * 101}),
        ("answers", {"key": 7}),
        ("claim", {"count": 0}),
        ("claim", {"count": 201}),
        ("claim", {"count": "2"}),
        ("claim", {"count": True}),
        ("claim", {"count": None}),
        ("claim", {"from": -1}),
        ("claim", {"from": "a"}),
        ("claim", {"skip": 3}),
        ("claim", {"skip": ["a"]}),
        ("claim", {"skip": [[1]]}),
        ("claim", {"annotator": ""}),
        ("finish", {"annotator": ""}),
        *((path, {"task": odd}) for path in ("answers", "claim", "finish") for odd in (None, 3)),
    ],
)
def test_bad_bodies_are_refused_and_change_nothing(path: str, change: Mapping[str, Any]) -> None:
    with opened() as (task, client):
        good = {"annotator": "ann", "index": task.indices[0], "choice": "3", "count": 2}
        good |= {"task": task.id}
        body = json.dumps(good | dict(change))
        response = client.post(
            f"/api/{path}", content=body, headers={"content-type": "application/json"}
        )
        assert response.status_code == 422, response.text
        assert list(response.json()) == ["error"] and "\n" not in response.json()["error"]
        assert not task.outcome.journal.entries and not Path("splits/random-labelled.json").exists()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"null", b"\xff", b"[" * 50_000])
def test_bodies_that_are_no_objects_are_refused(body: bytes) -> None:
    with opened() as (_, client):
        for path in ("answers", "claim", "finish", "classes"):
            response = client.post(
                f"/api/{path}", content=body, headers={"content-type": "application/json"}
            )
            assert response.status_code == 422 and list(response.json()) == ["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/..%5capp.py",
        "/static/%2e%2e%2f%2e%2e%2frun.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/page.js%00.png",
        "/static/",
        "/static",
        "/images/..%2f..%2fetc%2fpasswd",
        "/images/-1",
        "/images/1438",
        "/images/99999999999999999999999",
        "/images/0x1",
        "/api/details/1438",
        "/api/details/none",
        "/splits/random.json",
        "/api",
    ],
)
def test_nothing_else_is_served(path: str) -> None:
    with opened() as (_, client):
        response = client.get(path)
        assert response.status_code == 404, response.text
        assert all(response.headers[name] == value for name, value in HEADERS.items())
        assert client.post(path, json={}).status_code in (404, 405)


def test_pages_and_answers_may_not_be_mixed_up() -> None:
    with opened() as (_, client):
        for path in ("/api/answers", "/api/claim", "/api/finish", "/api/classes"):
            assert client.get(path).status_code == 405
        for path in ("/", "/api/task", "/api/items", "/images/0"):
            assert client.post(path, json={}).status_code == 405
        assert client.get("/api/items?annotator=").status_code == 422


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


def test_the_split_is_written_at_the_end_and_whenever_somebody_asks() -> None:
    out = Path("splits/random-labelled.json")
    with opened() as (task, client):
        order, truth = task.indices, DIGITS.labels
        assert "holds no answers" in send(client, "/api/finish", 409, annotator="ann")["error"]
        for index in order[:2]:
            answer(client, index, str(truth[index]))
        assert not out.exists()
        finished = send(client, "/api/finish", annotator="ann")
        assert finished == {"wrote": str(out), "labelled": 2, "awaited": 4}
        assert Split.load(out).awaited == 4
        answer(client, order[2], "skip")
        for index in order[3:]:
            answer(client, index, str(truth[index]))
        made = Split.load(out)  # nothing is left to ask
        assert made.awaited == 1 and made.labels is not None
        assert [label for label in made.labels if label >= 0] == truth[
            order[:2] + order[3:]
        ].tolist()
        assert made.indices == task.split.indices
        record = made.provenance["labels"][-1]
        assert record["annotators"] == {"ann": 5} and record["file"] == "random-answers.jsonl"
        answer(client, order[2], "7", replaces=3)
        assert Split.load(out).awaited == 0


def test_a_split_that_was_deleted_is_written_again() -> None:
    out = Path("splits/random-labelled.json")
    with opened() as (task, client):
        answer(client, task.indices[0], "3")
        send(client, "/api/finish", annotator="ann")
        before = out.read_bytes()
        out.unlink()
        send(client, "/api/finish", annotator="ann")
        assert out.read_bytes() == before


def test_where_people_differ_the_option_decides() -> None:
    for agreement, label in (("majority", 3), ("all", -1)):
        Path("splits/random-labelled.json").unlink(missing_ok=True)
        with opened(agreement=agreement, votes=3) as (task, client):
            index = task.indices[0]
            if not task.outcome.journal.entries:
                for name, choice in (("a", "3"), ("b", "3"), ("c", "4")):
                    assert items(client)[0]["answer"] is None
                    answer(client, index, choice, annotator=name)
            send(client, "/api/finish", annotator="a")
            labels = Split.load(Path("splits/random-labelled.json")).labels
            assert labels is not None and labels[0] == label


def test_only_a_split_of_this_journal_is_replaced() -> None:
    out = Path("splits/random-labelled.json")
    with opened() as (task, client):
        answer(client, task.indices[0], "3")
        send(client, "/api/finish", annotator="ann")
    with opened() as (task, client):  # its own
        answer(client, task.indices[1], "3")
        send(client, "/api/finish", annotator="ann")
    assert Split.load(out).awaited == 4
    for content in ("mine", "{}", Path("splits/random.json").read_text()):
        out.write_text(content)
        with pytest.raises(OutputError, match=r"already exists and was not made of .*pass --force"):
            prepare(Path("splits/random.json"), Options(everything=True))
        assert out.read_text() == content
    with opened(force=True) as (task, client):
        send(client, "/api/finish", annotator="ann")
    assert Split.load(out).awaited == 4
    Path("splits/random-answers.jsonl").rename("old.jsonl")
    with pytest.raises(OutputError, match="was not made of"):
        prepare(Path("splits/random.json"), Options(everything=True))
    assert not Path("splits/random-answers.jsonl").exists()


def test_labels_that_people_gave_before_are_asked_again_only_with_relabel() -> None:
    with opened() as (task, client):
        first = task.indices[0]
        answer(client, first, "3")
        send(client, "/api/finish", annotator="ann")
    again = "splits/random-labelled.json"
    with opened(again) as (task, client):
        assert task.indices == list(task.split.indices[1:])
        assert task.label(first) == "3"
    with pytest.raises(OptionError, match=r"--all also shows .*pass --relabel too"):
        prepare(Path(again), Options(everything=True))
    with opened(again, everything=True, relabel=True) as (task, client):
        assert task.indices[0] == first
        answer(client, first, "4")
        send(client, "/api/finish", annotator="ann")
    labels = Split.load(Path("splits/random-labelled-labelled.json")).labels
    assert labels is not None and labels[0] == 4


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
