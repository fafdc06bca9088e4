"""The page's HTTP interface, as its contract says it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from label_client import DIGITS, answer, items, opened, send, task_id, told

from fmsel.labeling import read_answers
from fmsel.selection.random import Random
from fmsel.selection.split import make_split
from fmsel.serving.app import HEADERS

pytest_plugins = ["label_client"]
pytestmark = pytest.mark.usefixtures("label_project")


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
