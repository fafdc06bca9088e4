"""The page of `fmsel label` as people use it: in a browser, against the server that they start."""

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
from browser import PHONE, Pages, overflow, small_targets, violations
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from fmsel.cli.app import main
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.labeling.page.app import label_app
from fmsel.labeling.page.run import Options, prepare
from fmsel.labeling.page.task import Task
from fmsel.selection.split import Split
from fmsel.serving import listen, serve

pytest_plugins = ["browser"]
pytestmark = pytest.mark.browser

SPLIT = Path("splits/random.json")
JOURNAL = Path("splits/random-answers.jsonl")
LABELLED = Path("splits/random-labelled.json")
SMOKE = ["--preset", "smoke", "--steps", "4", "--eval-every", "2", "--device", "cpu"]
SHEET = 24  # images in the grid


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_dataset("digits")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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
def server(pages: Pages) -> Iterator[Server]:
    make_split(10)
    started = Server()
    yield started
    pages.close()
    started.kill()


def test_ten_images_by_keyboard_through_a_reload_and_a_killed_server(
    pages: Pages, server: Server, digits: ImageDataset
) -> None:
    pages.expected += ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE"]
    split = Split.load(SPLIT)
    truth = {index: str(digits.labels[index]) for index in split.indices}
    page = arrive(pages, server.url)
    for place in range(3):
        assert press(page, truth[shown(page)]) == split.indices[place]
    expect(status(page)).to_have_text(f"Image 3 of 10: saved as {truth[split.indices[2]]}")
    page.reload()
    assert shown(page) == split.indices[3]
    expect_done(page, 3)
    press(page, truth[split.indices[3]])
    expect_done(page, 4)
    assert shown(page) == split.indices[4]

    server.kill()
    for _ in range(2):  # of the images that are there already
        press(page, truth[shown(page)])
    expect(status(page)).to_contain_text("2 answers not saved yet, trying again")
    assert len(answers()) == 4
    server.start()
    expect(status(page)).to_contain_text("saved as")
    expect_done(page, 6)
    expect(page.get_by_role("button", name="Try now")).to_be_hidden()

    wrong = press(page, str((int(truth[shown(page)]) + 1) % 10))
    expect_done(page, 7)
    page.keyboard.press("z")
    expect(page.locator("#position")).to_have_text("Image 7 of 10")
    expect_done(page, 6)
    assert shown(page) == wrong == split.indices[6]
    for _ in range(4):
        press(page, truth[shown(page)])
    expect(page.get_by_role("heading", name="Nothing left for you to answer")).to_be_visible()
    expect_done(page, 10)
    page.get_by_role("button", name="Write the split").click()
    page.get_by_role("dialog").get_by_role("button", name="Write the split").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"fmsel train --split {LABELLED}")

    assert answers() == truth
    made = Split.load(LABELLED)
    assert made.indices == split.indices
    assert made.labels == [digits.labels[index] for index in split.indices]
    assert "next: fmsel train --split" in server.stop()
    assert server.process.returncode == 0
    assert main(["train", "--split", str(LABELLED), *SMOKE]) == 0


def test_an_answer_outlives_its_window(pages: Pages) -> None:
    first, second = make_split(2)
    with served(pages) as (url, _):
        page = arrive(pages, url)
        pages.expected.append("ERR_FAILED")
        page.route("**/api/answers", lambda route: route.abort())
        assert press(page, "4") == first
        expect(status(page)).to_contain_text("1 answer not saved yet, trying again")
        assert answers() == {}
        again = page.context.new_page()  # the same browser
        page.close()
        again.goto(url)
        assert shown(again) == second
        expect_done(again, 1)
        assert answers() == {first: "4"}


def test_another_split_at_the_same_address_gets_no_answers(
    pages: Pages, project: Path, digits: ImageDataset
) -> None:
    make_photos(project / "photos", ["cat", "dog"])
    first, second, *_ = make_split(4)
    photos = Path("splits/photos.json")
    words = ["--random", "4", "--dataset", "./photos", "--out", str(photos)]
    assert main(["split", *words]) == 0
    pages.expected += ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "409 (Conflict)"]
    with serving(SPLIT, 0) as (url, _):
        page = arrive(pages, url)
        assert press(page, "1") == first
        expect_done(page, 1)
        assert shown(page) == second
    port = int(url.rstrip("/").rpartition(":")[2])
    with serving(photos, port) as (_, task):
        page.keyboard.press("2")
        notice = page.get_by_role("alert")
        expect(notice).to_contain_text("Another split is served here now. Not saved yet: 1 answer")
        assert violations(page) == []
        for key in ("3", "z", "s"):  # nothing more is taken
            page.keyboard.press(key)
        expect(page.get_by_test_id("image")).to_have_count(0)
        expect(page.get_by_role("button", name="3", exact=True)).to_be_disabled()
        assert not task.ledger.journal.entries and answers() == {first: "1"}
        notice.get_by_role("button", name="Load it").click()
        expect(page.locator("#title")).to_have_text(str(photos))
        assert press(page, "1") == task.indices[0]
        expect_done(page, 1)
        page.goto("about:blank")
    with serving(SPLIT, port) as (_, task):
        page.goto(url)
        expect_done(page, 2)
        assert answers() == {first: "1", second: "2"}
        pages.close()


def test_two_people_never_see_the_same_image(pages: Pages, digits: ImageDataset) -> None:
    indices = make_split(12)
    truth = {index: str(digits.labels[index]) for index in indices}
    with served(pages) as (url, _):
        ann, bob = arrive(pages, url, "Ann"), arrive(pages, url, "Bob")
        seen = {"Ann": set[int](), "Bob": set[int]()}
        for turn in range(8):  # three of them Bob's
            name, page, other = ("Bob", bob, ann) if turn % 3 == 2 else ("Ann", ann, bob)
            assert shown(page) != shown(other)
            seen[name].add(press(page, truth[shown(page)]))
        for name, own in seen.items():
            expect_answers({index: truth[index] for index in own}, name)
        assert not seen["Ann"] & seen["Bob"] and len(seen["Ann"] | seen["Bob"]) == 8

        while phase(ann) == "open":
            assert shown(ann) != shown(bob)
            press(ann, truth[shown(ann)])
        expect(ann.locator("#panel")).to_contain_text("Just now with Bob")
        while phase(bob) == "open":
            press(bob, truth[shown(bob)])
        expect(ann.get_by_role("heading", name="Nothing left for you to answer")).to_be_visible()
    assert answers() == truth
    assert not answers("Ann").keys() & answers("Bob").keys()


def test_whoever_cannot_wait_takes_over(pages: Pages) -> None:
    make_split(2)
    with served(pages) as (url, _):
        ann, bob = arrive(pages, url, "Ann"), arrive(pages, url, "Bob")
        held = shown(ann)
        assert phase(bob) == "waiting"
        bob.get_by_role("button", name="Show them to me too").click()
        assert press(bob, "1") == held
        assert press(ann, "2") == held  # both answers are kept
        expect_answers({held: "2"}, "Ann")
        expect_answers({held: "1"}, "Bob")


def test_an_image_that_somebody_took_is_not_shown_on(pages: Pages) -> None:
    first, second, *_ = make_split(8)
    with served(pages) as (url, task):
        ann = arrive(pages, url, "Ann")
        assert shown(ann) == first
        desk = task.ledger.desk
        desk._clock = lambda: time.monotonic() + 120  # Ann was away for two minutes
        assert task.ledger.claim("Bob", None, 1, []) == [first]
        ann.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(status(ann)).to_contain_text("Somebody else has taken image 1")
        assert shown(ann) == second


def test_a_second_window_with_the_same_name_overwrites_nothing(pages: Pages) -> None:
    first, second, *_ = make_split(4)
    pages.expected.append("409 (Conflict)")
    with served(pages) as (url, _):
        one = arrive(pages, url)
        other = one.context.new_page()
        other.goto(url)
        assert shown(one) == shown(other) == first
        press(one, "1")
        expect_done(one, 1)
        press(other, "2")
        notice = other.get_by_role("alert")
        expect(notice).to_contain_text("Image 1 was answered as 1 in another window")
        assert answers() == {first: "1"}
        assert violations(other) == []
        notice.get_by_role("button", name="Keep 1").click()
        expect(notice).to_be_empty()
        press(one, "3")
        expect_done(one, 2)
        press(other, "4")
        notice.get_by_role("button", name="Use 4").click()
        expect(status(other)).to_have_text("Image 2 of 4: saved as 4")
        assert answers() == {first: "1", second: "4"}


def test_the_grid_by_keyboard(pages: Pages, digits: ImageDataset) -> None:
    indices = make_split(SHEET + 3)
    truth = {index: str(digits.labels[index]) for index in indices}
    expected = dict(truth)
    with served(pages) as (url, _):
        page = arrive(pages, url)
        shown(page)
        page.keyboard.press("g")
        tiles = page.get_by_role("option")
        expect(tiles).to_have_count(SHEET)
        expect(tiles.first).to_be_focused()

        def current() -> int:
            return int(page.locator("[aria-selected=true]").get_attribute("data-index") or -1)

        columns = page.locator("#grid").evaluate("e => getComputedStyle(e).gridTemplateColumns")
        down = len(columns.split())
        for key, place in [("ArrowRight", 1), ("ArrowDown", 1 + down), ("ArrowLeft", down)]:
            page.keyboard.press(key)
            assert current() == indices[place]
            expect(tiles.nth(place)).to_be_focused()
        for key, place in [("ArrowUp", 0), ("ArrowUp", 0), ("End", SHEET - 1), ("Home", 0)]:
            page.keyboard.press(key)
            assert current() == indices[place]
        page.keyboard.press(" ")
        expected[indices[0]] = "skip"
        expect(tiles.first).to_have_accessible_name(f"Image 1 of {len(indices)}, skip")
        for place in range(1, SHEET):
            assert current() == indices[place]
            page.keyboard.press(truth[indices[place]])
        following = page.get_by_role("button", name="Next images")
        expect(following).to_be_focused()
        page.keyboard.press("5")  # answers nothing: no image has the focus
        page.keyboard.press("z")
        expect(tiles.last).to_be_focused()
        page.keyboard.press(truth[indices[SHEET - 1]])
        expect(following).to_be_focused()
        page.keyboard.press("Enter")
        expect(tiles).to_have_count(3)
        expect(tiles.first).to_be_focused()
        page.reload()  # the grid is remembered
        expect(tiles).to_have_count(3)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Home")
        for place in range(SHEET, SHEET + 3):
            page.keyboard.press(truth[indices[place]])
        expect(following).to_be_focused()
        page.keyboard.press("Enter")
        assert phase(page) == "finished"
        page.get_by_role("button", name="Look at my answers").click()
        expect(tiles).to_have_count(SHEET)
        page.get_by_role("button", name="Later answers").click()
        expect(tiles).to_have_count(3)
        expect(tiles.first).to_have_accessible_name(
            f"Image {SHEET + 1} of {SHEET + 3}, {truth[indices[SHEET]]}"
        )
    assert answers() == expected


def test_a_mouse_is_enough(pages: Pages) -> None:
    indices = make_split(5)
    with served(pages) as (url, _):
        page = arrive(pages, url)

        def click(name: str) -> None:
            page.get_by_role("button", name=name, exact=True).click()

        shown(page)
        click("7")
        expect(page.locator("#position")).to_have_text("Image 2 of 5")
        shown(page)
        click("Unsure")
        expect(page.locator("#position")).to_have_text("Image 3 of 5")
        page.keyboard.press(" ")  # the click left the focus alone: this is a skip
        expect(page.locator("#position")).to_have_text("Image 4 of 5")
        click("Back")
        click("Back")
        click("Back")
        expect(page.locator("#position")).to_have_text("Image 1 of 5: 7")
        seven = page.get_by_role("button", name="7", exact=True)
        expect(seven).to_have_attribute("aria-pressed", "true")
        click("8")
        expect(page.locator("#position")).to_have_text("Image 2 of 5: unsure")
        click("Forward")
        click("Forward")
        expect(page.locator("#position")).to_have_text("Image 4 of 5")
        click("Undo")
        expect(page.locator("#position")).to_have_text("Image 1 of 5: 7")
        click("Grid")
        page.get_by_role("option").last.click()
        click("None of these")
        expect(page.get_by_role("option").last).to_have_accessible_name(
            "Image 5 of 5, none of these"
        )
        click("Finish")
        page.get_by_role("dialog").get_by_role("button", name="Write the split").click()
        expect(page.get_by_role("dialog")).to_contain_text("1 labelled, 4 still waiting")
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
    assert answers() == dict(zip(indices[:3], ("7", "unsure", "skip"), strict=True)) | {
        indices[4]: "none of these"
    }


def test_a_phone_is_wide_enough(pages: Pages) -> None:
    indices = make_split(SHEET + 2)
    assert main(["embed", "digits", "--encoder", "patches"]) == 0
    with served(pages) as (url, _):
        page = arrive(pages, url, **PHONE)
        shown(page)

        def check() -> None:
            assert overflow(page) == 0
            assert small_targets(page) == []

        def tap(name: str) -> None:
            page.get_by_role("button", name=name, exact=True).tap()

        check()
        buttons = page.locator("#classes button, #others button, #moves button")
        assert all(
            (box := each.bounding_box()) and box["y"] + box["height"] <= 740
            for each in buttons.all()
        )
        tap("6")
        expect(page.locator("#position")).to_have_text("Image 2 of 26")
        tap("Details")
        expect(page.locator("#details li")).to_have_count(8)
        check()
        tap("Details")
        tap("Keys")
        check()
        tap("Close")
        tap("Grid")
        page.get_by_role("option").nth(1).tap()
        check()
        tap("3")
        expect(status(page)).to_have_text("Image 3 of 26: saved as 3")
        tap("Finish")
        check()
    assert answers() == {indices[0]: "6", indices[2]: "3"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(pages: Pages, scheme: str) -> None:
    make_split(3)
    assert main(["embed", "digits", "--encoder", "patches"]) == 0
    with served(pages) as (url, _):
        page = pages.open(url, color_scheme=scheme, reduced_motion="reduce")
        expect(page.get_by_role("dialog")).to_be_visible()
        states = {"name": violations(page)}
        page.get_by_label("Your name").fill("Ann")
        page.keyboard.press("Enter")
        shown(page)
        states["single"] = violations(page)
        press(page, "1")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("d")
        expect(page.locator("#details li")).to_have_count(8)
        states["details"] = violations(page)
        page.keyboard.press("?")
        states["keys"] = violations(page)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        page.keyboard.press("g")
        expect(page.get_by_role("option").first).to_be_focused()
        page.keyboard.press("2")
        states["grid"] = violations(page)
        page.get_by_role("button", name="Finish").click()
        states["finish"] = violations(page)
        page.get_by_role("dialog").get_by_role("button", name="Write the split").click()
        expect(page.get_by_role("dialog")).to_contain_text("still waiting")
        states["written"] = violations(page)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        page.keyboard.press("s")
        page.get_by_role("button", name="Next images").click()
        assert phase(page) == "finished"
        states["finished"] = violations(page)
    assert states == {state: [] for state in states}


def test_axe_sees_what_is_wrong(pages: Pages) -> None:
    make_split(1)
    with served(pages) as (url, _):
        page = arrive(pages, url)
        shown(page)
        page.evaluate("document.querySelector('[data-testid=image]').removeAttribute('alt')")
        assert [each.split(":")[0] for each in violations(page)] == ["image-alt"]


def test_odd_names_are_mended_and_failures_told(pages: Pages) -> None:
    make_split(1)
    pages.expected.append("exception: odd")
    with served(pages) as (url, _):
        page = arrive(pages, url, "Ann\u0007\u2028Lee")
        shown(page)
        expect(page.get_by_role("button", name="Your name: Ann Lee")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_empty()
        page.evaluate("() => { setTimeout(() => { throw new Error('odd'); }); }")
        expect(page.get_by_role("alert")).to_contain_text("This page has failed.")
        page.get_by_role("button", name="Load it again").click()
        shown(page)
        expect(page.get_by_role("alert")).to_be_empty()


def test_single_keys_can_be_switched_off(pages: Pages) -> None:
    first, *_ = make_split(3)
    with served(pages) as (url, _):
        page = arrive(pages, url)
        shown(page)
        one = page.get_by_role("button", name="1", exact=True)
        expect(one).to_have_attribute("aria-keyshortcuts", "1")
        page.keyboard.press("?")
        page.get_by_role("checkbox").uncheck()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        for _ in range(2):
            for key in "1sunzdg?/ ":
                page.keyboard.press(key)
            assert shown(page) == first
            expect(page.get_by_role("dialog")).to_be_hidden()
            expect(one).not_to_have_attribute("aria-keyshortcuts", "1")
            expect(one.locator("kbd")).to_be_hidden()
            page.reload()
        assert answers() == {}
        shown(page)
        one.focus()
        page.keyboard.press(" ")  # presses the button that has the focus
        expect_done(page, 1)
        page.keyboard.press("Control+z")
        expect_done(page, 0)


def test_an_image_is_judged_once_it_is_there_and_once_a_press(pages: Pages) -> None:
    first, *_ = make_split(4)
    held: list[Route] = []
    is_slow = True

    def load(route: Route) -> None:
        if is_slow:
            held.append(route)
        else:
            route.continue_()

    with served(pages) as (url, _):
        page = pages.open("about:blank")
        page.route("**/images/*", load)
        page.goto(url)
        page.get_by_label("Your name").fill("Ann")
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("image")).to_have_attribute("data-index", str(first))
        page.keyboard.press("1")
        expect(page.locator("#position")).to_have_text("Image 1 of 4")
        is_slow = False
        for route in held:
            route.continue_()
        shown(page)
        page.keyboard.down("1")
        for _ in range(3):
            page.keyboard.down("1")  # as a held key repeats itself
        page.keyboard.up("1")
        expect_done(page, 1)
        expect(page.locator("#position")).to_have_text("Image 2 of 4")
        assert answers() == {first: "1"}


def make_photos(folder: Path, classes: list[str]) -> None:
    rng = np.random.default_rng(0)
    for place in range(8):
        path = folder / classes[place % len(classes)] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def test_classes_are_typed_where_there_are_none(pages: Pages, project: Path) -> None:
    make_photos(project / "photos", ["."])
    first, second, third = make_split(3, "./photos")
    pages.expected.append("409 (Conflict)")
    with served(pages) as (url, _):
        page = arrive(pages, url)
        shown(page)
        expect(page.get_by_text("There are no classes yet")).to_be_visible()
        field = page.get_by_label("New class")
        for name in ("otter", " sea  lion ", "Otter"):
            field.fill(name)
            page.keyboard.press("Enter")
        expect(page.get_by_text("there is a class otter already")).to_be_visible()
        expect(page.locator("#classes button")).to_have_count(2)
        assert violations(page) == []
        page.keyboard.press("Escape")
        expect(field).not_to_be_focused()
        press(page, "2")
        press(page, "1")
        expect_done(page, 2)
    names = (project / "photos" / "classes.txt").read_text().splitlines()
    assert names[0] == "otter" and len(names) == 2
    assert answers() == {first: names[1], second: "otter"}
    with served(pages) as (url, task):
        page = arrive(pages, url)
        assert shown(page) == third
        press(page, "1")
        assert phase(page) == "finished"
        assert task.written()["labelled"] == 3
    assert Split.load(LABELLED).labels == [1, 0, 0]


def test_classes_that_others_add_appear_and_known_keys_stay(pages: Pages, project: Path) -> None:
    make_photos(project / "photos", ["."])
    first, second, third, *_ = make_split(7, "./photos")
    with served(pages, classes=["cat", "dog"]) as (url, _):
        ann, bob = arrive(pages, url, "Ann"), arrive(pages, url, "Bob")
        shown(ann)
        shown(bob)
        bob.get_by_label("New class").fill("2")  # a class whose name is the key of another one
        bob.keyboard.press("Enter")
        buttons = ann.locator("#classes button")
        expect(buttons).to_have_count(2)
        buttons.first.focus()
        press(ann, "1")
        expect(buttons).to_have_count(3)
        expect(buttons.first).to_be_focused()
        expect(buttons.locator("kbd")).to_have_text(["1", "2", "3"])
        press(ann, "2")
        bob.get_by_label("New class").fill("eel")
        bob.keyboard.press("Enter")
        expect(bob.locator("#classes button")).to_have_count(4)
        ann.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(buttons).to_have_count(4)  # also for somebody who does nothing
        assert press(ann, "4") == third
        expect_answers({first: "cat", second: "dog", third: "eel"}, "Ann")


def test_a_class_among_many_is_found_by_its_name(pages: Pages, project: Path) -> None:
    make_photos(project / "photos", ["."])
    first, second, *_ = make_split(4, "./photos")
    names = [f"kind {number}" for number in range(40)] + ["bear", "polar bear"]
    with served(pages, classes=names) as (url, _):
        page = arrive(pages, url)
        shown(page)
        field = page.get_by_label("Find a class")
        page.keyboard.press("/")
        expect(field).to_be_focused()
        page.keyboard.type("BEAR")
        expect(page.locator("#classes span")).to_have_text(["bear", "polar bear"])
        expect(page.locator("#filter-hint")).to_have_text("Enter chooses bear")
        assert violations(page) == []
        assert shown(page) == first  # letters in a field answer nothing
        page.keyboard.press("Enter")
        expect_done(page, 1)
        expect(page.locator("#classes button")).to_have_count(len(names))
        expect(field).to_be_focused()
        page.keyboard.type("no such class")
        expect(page.locator("#filter-hint")).to_have_text("No class has this in its name")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        expect(field).not_to_be_focused()
        expect(field).to_have_value("")
        assert shown(page) == second
        press(page, "y")  # the last key
        expect_done(page, 2)
    assert answers() == {first: "bear", second: "kind 29"}


def test_nothing_on_the_page_tells_the_class(pages: Pages, project: Path) -> None:
    make_photos(project / "photos", ["zebra", "yak"])
    indices = make_split(4, "./photos")
    assert main(["embed", "./photos", "--encoder", "patches"]) == 0
    with served(pages) as (url, _):
        page = arrive(pages, url)
        shown(page)
        page.keyboard.press("d")
        expect(page.locator("#details li").first).to_be_visible()
        expect(page.get_by_test_id("image")).to_have_attribute("alt", "Image 1 of 4")
        for mode in ("single", "grid"):
            expect(page.locator("body")).to_have_attribute("data-mode", mode)
            html = page.locator("#look, #details").evaluate_all("all => all.map(e => e.outerHTML)")
            assert len(html) == 2 and not re.search("zebra|yak", " ".join(html) + page.title())
            page.keyboard.press("g")
        read = page.request.get(f"{url}api/items?annotator=Ann").text()
        assert str(indices[0]) in read and not re.search("zebra|yak", read)


def test_every_class_has_a_key_of_its_own(pages: Pages) -> None:
    make_split(1)
    with served(pages) as (url, _):
        page = arrive(pages, url)

        def keys(classes: list[str]) -> dict[str, str]:
            script = """async classes => {
                const { assignKeys } = await import("/static/keys.js");
                return Object.fromEntries(assignKeys(classes));
            }"""
            found: dict[str, str] = page.evaluate(script, classes)
            return found

        digits = [str(digit) for digit in range(10)]
        assert keys(digits) == dict(zip(digits, digits, strict=True))
        assert keys(["cat", "1", "dog", "C"]) == {"cat": "2", "1": "1", "dog": "3", "C": "c"}
        many = keys([f"class {number}" for number in range(50)])
        assert list(many.values()) == [*"1234567890", *"abcefhijklmopqrtvwxy"]
        assert keys(["c", "C"]) == {"c": "c", "C": "1"}
        assert keys([]) == {}
        known = page.evaluate(
            """async () => {
                const { assignKeys } = await import("/static/keys.js");
                const known = assignKeys(["cat", "dog"]);
                return Object.fromEntries(assignKeys(["cat", "dog", "1", "C", "x"], known));
            }"""
        )
        assert known == {"cat": "1", "dog": "2", "1": "3", "C": "c", "x": "x"}
