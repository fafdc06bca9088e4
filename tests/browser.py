"""Chromium for the tests of pages: found, started, and watched for what no page of fmsel may do.

A test module that uses it begins with `pytest_plugins = ["browser"]` and
`pytestmark = pytest.mark.browser`. It imports this module before pytest does, hence
PYTEST_DONT_REWRITE.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Page,
    Request,
    expect,
    sync_playwright,
)

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",  # which root, as in a container, cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
}
PATIENCE = 30_000  # milliseconds; a busy machine is slow, and waiting for what comes costs nothing
LOCAL = ("", "data", "blob", "about")  # schemes that reach no other machine


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for one module: Playwright holds an event loop, which other tests may not find.

    Where there is none the tests are skipped, or fail with FMSEL_BROWSER_TESTS=1.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        except Error as error:
            reason = f"no browser: {error.message.splitlines()[0]}"
            if os.environ.get("FMSEL_BROWSER_TESTS") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        expect.set_options(timeout=PATIENCE)
        yield browser
        browser.close()


@dataclass
class Pages:
    """Pages of a test, each a person of their own, and what went wrong in any of them.

    Attributes:
        expected: parts of messages that a test provokes, such as "ERR_CONNECTION_REFUSED".
    """

    browser: Browser
    expected: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open(self, url: str, **options: Any) -> Page:
        """A page with its own storage; `options` as of a Playwright context."""
        context = self.browser.new_context(**(DESK | options))
        context.on("page", self._watch)
        page = context.new_page()
        page.goto(url)
        return page

    def close(self) -> None:
        """Close them all; before their server stops, or they complain."""
        for context in self.browser.contexts:
            context.close()

    def check(self) -> None:
        """Fail on what went wrong and was not expected."""
        surprises = [
            each for each in self.problems if not any(part in each for part in self.expected)
        ]
        assert surprises == [], surprises

    def _watch(self, page: Page) -> None:
        def hear(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):  # a breach of the content policy too
                self.problems.append(f"console: {message.text}")

        def see(request: Request) -> None:
            asked, own = urlsplit(request.url), urlsplit(page.url)
            if asked.scheme not in LOCAL and own.netloc and asked.netloc != own.netloc:
                self.problems.append(f"a request to another origin: {request.url}")

        page.on("console", hear)
        page.on("request", see)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))


@pytest.fixture
def pages(chromium: Browser) -> Iterator[Pages]:
    """To open pages with; the test fails on an error in a console or a request elsewhere."""
    opened = Pages(chromium)
    yield opened
    opened.close()
    opened.check()


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with a page's accessibility."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]


def small_targets(page: Page, side: int = 44) -> list[str]:
    """Controls in sight that are smaller than `side` CSS pixels either way."""
    found: list[str] = page.evaluate(
        """side => [...document.querySelectorAll("button, input, select, a, [role=option]")]
            .filter(each => each.checkVisibility())
            .map(each => [each, (each.closest("label") ?? each).getBoundingClientRect()])
            .filter(([, box]) => box.width < side - 0.5 || box.height < side - 0.5)
            .map(([each, box]) => `${each.outerHTML} ${box.width}x${box.height}`)""",
        side,
    )
    return found


def overflow(page: Page) -> int:
    """CSS pixels by which a page is wider than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return max(width, 0)
