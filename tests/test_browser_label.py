"""The page of `fmsel label` as people use it: in a browser, against the server that they start."""

import time
from pathlib import Path

import pytest
from browser import Pages, violations
from label_pages import (
    LABELLED,
    SMOKE,
    SPLIT,
    Server,
    answers,
    arrive,
    expect_answers,
    expect_done,
    make_photos,
    make_split,
    phase,
    press,
    served,
    serving,
    shown,
    status,
)
from playwright.sync_api import expect

from fmsel.cli.app import main
from fmsel.datasets import ImageDataset
from fmsel.selection.split import Split

pytest_plugins = ["browser", "label_pages"]
pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("label_folder")]


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
    pages: Pages, label_folder: Path, digits: ImageDataset
) -> None:
    make_photos(label_folder / "photos", ["cat", "dog"])
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
