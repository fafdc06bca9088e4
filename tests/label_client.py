"""The HTTP interface of `fmsel label`, served in the test itself.

A test module that uses it begins with `pytest_plugins = ["label_client"]`. It imports this
module before pytest does, hence PYTEST_DONT_REWRITE.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fmsel.datasets import load_dataset
from fmsel.labeling.page.app import label_app
from fmsel.labeling.page.run import Options, prepare
from fmsel.labeling.page.task import Task
from fmsel.selection.random import Random
from fmsel.selection.split import Split, make_split
from fmsel.serving import Access

ACCESS = Access("127.0.0.1", 8000, None)
DIGITS = load_dataset("digits")


@pytest.fixture
def label_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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
