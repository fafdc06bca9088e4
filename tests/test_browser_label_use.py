"""By keyboard, mouse or phone, and for everybody: the page of `fmsel label`."""

import pytest
from browser import PHONE, Pages, overflow, small_targets, violations
from label_pages import (
    SHEET,
    answers,
    arrive,
    expect_done,
    make_split,
    phase,
    press,
    served,
    shown,
    status,
)
from playwright.sync_api import Route, expect

from fmsel.cli.app import main
from fmsel.datasets import ImageDataset

pytest_plugins = ["browser", "label_pages"]
pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("label_folder")]


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
