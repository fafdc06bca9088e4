"""Classes on the page of `fmsel label`: typed, added, many."""

import re
from pathlib import Path

import pytest
from browser import Pages, violations
from label_pages import (
    LABELLED,
    answers,
    arrive,
    expect_answers,
    expect_done,
    make_photos,
    make_split,
    phase,
    press,
    served,
    shown,
)
from playwright.sync_api import expect

from fmsel.cli.app import main
from fmsel.selection.split import Split

pytest_plugins = ["browser", "label_pages"]
pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("label_folder")]


def test_classes_are_typed_where_there_are_none(pages: Pages, label_folder: Path) -> None:
    make_photos(label_folder / "photos", ["."])
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
    names = (label_folder / "photos" / "classes.txt").read_text().splitlines()
    assert names[0] == "otter" and len(names) == 2
    assert answers() == {first: names[1], second: "otter"}
    with served(pages) as (url, task):
        page = arrive(pages, url)
        assert shown(page) == third
        press(page, "1")
        assert phase(page) == "finished"
        assert task.written()["labelled"] == 3
    assert Split.load(LABELLED).labels == [1, 0, 0]


def test_classes_that_others_add_appear_and_known_keys_stay(
    pages: Pages, label_folder: Path
) -> None:
    make_photos(label_folder / "photos", ["."])
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


def test_a_class_among_many_is_found_by_its_name(pages: Pages, label_folder: Path) -> None:
    make_photos(label_folder / "photos", ["."])
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


def test_nothing_on_the_page_tells_the_class(pages: Pages, label_folder: Path) -> None:
    make_photos(label_folder / "photos", ["zebra", "yak"])
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
