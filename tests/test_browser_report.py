"""The report's page in Chromium: no accessibility violation, no overflow, links that arrive."""

from pathlib import Path

import pytest
from browser import DESK, PHONE, Pages, overflow, violations
from playwright.sync_api import Page

pytest_plugins = ["browser", "report_pages"]
pytestmark = pytest.mark.browser


def opened(pages: Pages, home: Path, **options: object) -> Page:
    return pages.open((home / "report.html").as_uri(), **options)


@pytest.mark.parametrize(
    ("scheme", "window"), [("light", DESK), ("dark", PHONE)], ids=["light-desk", "dark-phone"]
)
def test_axe_finds_nothing_and_nothing_overflows(
    scheme: str, window: dict[str, object], home: Path, pages: Pages
) -> None:
    page = opened(pages, home, **window, color_scheme=scheme)
    assert overflow(page) == 0
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert violations(page) == []
    assert overflow(page) == 0


def test_a_mark_on_the_map_leads_to_its_image_even_where_that_is_folded_away(
    home: Path, pages: Pages
) -> None:
    page = opened(pages, home)
    mark = page.locator("#map svg a").last
    target = mark.get_attribute("href")
    assert target is not None
    tile = page.locator(target)
    page.evaluate("document.querySelectorAll('#labelled details').forEach(e => e.open = false)")
    assert not tile.is_visible()
    mark.focus()
    page.keyboard.press("Enter")
    assert tile.is_visible() and page.url.endswith(target)
    index = target.split("-")[2]
    assert (tile.locator("img").get_attribute("alt") or "").startswith(f"image {index} (")
    assert (mark.get_attribute("aria-label") or "").startswith(f"image {index}, chosen by")
    assert tile.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"


def test_the_skip_link_passes_over_the_marks(home: Path, pages: Pages) -> None:
    page = opened(pages, home)
    skip = page.locator("#map a.skip")
    skip.focus()
    assert skip.is_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('svg') === null")


def test_figures_are_readable_on_dark_and_on_light_paper(home: Path, pages: Pages) -> None:
    """The text of a figure has the page's ink, by the contrast that WCAG asks of text."""
    script = """() => {
        const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        const light = rgb => rgb.match(/[\\d.]+/g).slice(0, 3).map(Number).map(channel)
            .reduce((sum, each, i) => sum + each * [0.2126, 0.7152, 0.0722][i], 0);
        const paper = light(getComputedStyle(document.body).backgroundColor);
        const cells = "#confusion";  // some of its numbers stand on colour
        return [...document.querySelectorAll("svg text")].filter(e => !e.closest(cells))
            .map(e => light(getComputedStyle(e).fill))
            .map(ink => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05));
    }"""
    for scheme in ("light", "dark"):
        contrasts = opened(pages, home, color_scheme=scheme).evaluate(script)
        assert len(contrasts) > 50 and min(contrasts) >= 4.5
