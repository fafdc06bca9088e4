"""The page of `fmsel label` in a browser.

A test module that uses it begins with `pytest_plugins = ["browser", "label_pages"]`. It imports
this module before pytest does, hence PYTEST_DONT_REWRITE.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Pages
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from fmsel.cli.app import main
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.labeling.page.app import label_app
from fmsel.labeling.page.run import Options, prepare
from fmsel.labeling.page.task import Task
from fmsel.selection.split import Split
from fmsel.serving import listen, serve

SPLIT = Path("splits/random.json")
JOURNAL = Path("splits/random-answers.jsonl")
LABELLED = Path("splits/random-labelled.json")
SMOKE = ["--preset", "smoke", "--steps", "4", "--eval-every", "2", "--device", "cpu"]
SHEET = 24  # images in the grid


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


@pytest.fixture
def label_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_split(budget: int, dataset: str = "digits") -> list[int]:
    """splits/random.json; its images."""
    assert main(["split", "--random", str(budget), "--dataset", dataset]) == 0
    return [int(index) for index in Split.load(SPLIT).indices]


@contextmanager
def serving(split: Path, port: int, **options: Any) -> Iterator[tuple[str, Task]]:
    """The page of a split, served from a thread; its address."""
    listener, access = listen("127.0.0.1", port)
    task = prepare(split, Options(everything=True, **options))
    app = label_app(task, access)
    thread = threading.Thread(target=serve, args=(app, listener))
    thread.start()
    try:
        yield access.url, task
    finally:
        app.state.server.should_exit = True
        thread.join()
        task.outcome.journal.close()


@contextmanager
def served(pages: Pages, **options: Any) -> Iterator[tuple[str, Task]]:
    """The page of splits/random.json; pages are closed before it ends."""
    with serving(SPLIT, 0, **options) as found:
        try:
            yield found
        finally:
            pages.close()


def arrive(pages: Pages, url: str, name: str = "Ann", **options: Any) -> Page:
    """Somebody opens the page for the first time."""
    page = pages.open(url, **options)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Start").click()
    return page


def shown(page: Page) -> int:
    """The index of the image that is there to be judged."""
    image = page.get_by_test_id("image")
    expect(image).to_be_visible()
    page.wait_for_function(
        "image => image.complete && image.naturalWidth", arg=image.element_handle()
    )
    return int(image.get_attribute("data-index") or -1)


def press(page: Page, key: str) -> int:
    """Press a key that leads to another image; the image that was answered."""
    index = shown(page)
    page.keyboard.press(key)
    expect(page.locator(f"#stage [data-index='{index}']")).to_have_count(0)
    return index


def phase(page: Page) -> str:
    """Whether there is an image, nothing left, or something that others look at."""
    body = page.locator("body")
    expect(body).to_have_attribute("data-phase", re.compile("open|waiting|finished"))
    return body.get_attribute("data-phase") or ""


def status(page: Page) -> Locator:
    return page.get_by_test_id("status")


def expect_done(page: Page, done: int) -> None:
    expect(page.get_by_test_id("progress")).to_have_js_property("value", done)


def answers(*annotators: str) -> dict[int, str]:
    """What the journal says by now of whoever answered (of these people)."""
    said = dict[int, str]()
    for line in JOURNAL.read_text().splitlines()[1:]:
        entry = json.loads(line)
        if "choice" not in entry or (annotators and entry["annotator"] not in annotators):
            continue
        said.pop(entry["index"], None)
        if entry["choice"] is not None:
            said[entry["index"]] = entry["choice"]
    return said


def expect_answers(expected: dict[int, str], *annotators: str) -> None:
    """The journal says so, soon."""
    until = time.monotonic() + 10
    while answers(*annotators) != expected and time.monotonic() < until:
        time.sleep(0.05)
    assert answers(*annotators) == expected


class Server:
    """`fmsel label` as a process of its own, at one port."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.start()

    def start(self) -> None:
        words = ["-m", "fmsel.cli", "label", str(SPLIT), "--all", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        assert self.process.stdout is not None
        assert any(self.url in line for line in self.process.stdout)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> str:
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=60)[0]


@pytest.fixture
def server(pages: Pages, label_folder: Path) -> Iterator[Server]:
    make_split(10)
    started = Server()
    yield started
    pages.close()
    started.kill()


def make_photos(folder: Path, classes: list[str]) -> None:
    rng = np.random.default_rng(0)
    for place in range(8):
        path = folder / classes[place % len(classes)] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
