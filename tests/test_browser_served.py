"""The served gallery and map as people use them, in a browser."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from browser import PHONE, Pages, overflow, small_targets, violations
from made_scores import record_of
from playwright.sync_api import Page, expect

from fmsel.datasets import load_dataset
from fmsel.metrics.scores import Scores
from fmsel.report.served.app import image_app
from fmsel.report.served.collection import Collection
from fmsel.report.served.positions import Positions
from fmsel.selection.random import Random
from fmsel.selection.split import make_split
from fmsel.serving import listen, serve

pytest_plugins = ["browser"]
pytestmark = pytest.mark.browser

WIDTH = 41  # images in a row of the map


def collection() -> Collection:
    """The digits, with their index as a score, on a map where each has a place of its own."""
    digits = load_dataset("digits")
    array = np.arange(len(digits), dtype=np.float32)
    record = record_of(array, label_use="none", labels_sha256=digits.labels_sha256)
    points = np.stack([np.arange(len(digits)) % WIDTH, np.arange(len(digits)) // WIDTH], axis=1)
    return Collection(
        data=digits,
        scores=Scores(dataset=digits.describe(), arrays={"agr": array}, records={"agr": record}),
        splits={"random": make_split(digits, Random(), batch_size=20)},
        positions=Positions(points=points.astype(np.float32), told="In rows."),
    )


SHOWN = collection()
N = len(SHOWN)


def counted(label: int) -> str:
    """How many images have a label, in the page's words."""
    return f"{(SHOWN.data.labels == label).sum()} images of class {label}"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(SHOWN) as address:
        yield address


@contextmanager
def served(shown: Collection) -> Iterator[str]:
    """The address, without the last slash."""
    listener, access = listen("127.0.0.1", 0)
    app = image_app(shown, access)
    thread = threading.Thread(target=serve, args=(app, listener))
    thread.start()
    try:
        yield access.url.rstrip("/")
    finally:
        app.state.server.should_exit = True
        thread.join()


def focused(page: Page) -> str:
    """Name of the control that has the focus."""
    return str(page.evaluate("document.activeElement.getAttribute('aria-label')"))


def where(page: Page, index: int) -> tuple[float, float]:
    """Where an image lies on the whole map, by its row and column, in CSS pixels of the window."""
    box = page.locator("#marks").bounding_box()
    assert box is not None
    right, top = WIDTH - 1, (N - 1) // WIDTH
    step = 0.92 * min(box["width"] / right, box["height"] / top)
    return (
        box["x"] + box["width"] / 2 + (index % WIDTH - right / 2) * step,
        box["y"] + box["height"] / 2 - (index // WIDTH - top / 2) * step,
    )


def test_filters_are_in_the_address_and_outlive_a_reload(pages: Pages, url: str) -> None:
    page = pages.open(url)
    expect(page.get_by_role("status").first).to_have_text(f"{N:,} images, page 1 of {-(-N // 200)}")
    page.get_by_label("Class", exact=True).select_option("3")
    page.get_by_label("Order", exact=True).select_option("agr")
    page.get_by_label("First", exact=True).select_option("outliers")
    told = f"{counted(3)} by agr, outliers first"
    expect(page.get_by_role("status").first).to_have_text(told)
    page.reload()
    expect(page.get_by_role("status").first).to_have_text(told)
    threes = np.flatnonzero(SHOWN.data.labels == 3)
    shown = page.locator("#tiles button").evaluate_all("all => all.map(b => +b.dataset.index)")
    assert shown == threes.tolist()
    page.go_back()
    expect(page.get_by_role("status").first).to_have_text(told.replace("outliers", "prototypes"))


def test_a_tile_shows_the_pixels_of_its_image(pages: Pages, url: str) -> None:
    page = pages.open(f"{url}/?page=2")
    canvas = page.locator("#tiles button canvas").nth(70)
    canvas.scroll_into_view_if_needed()
    # of a copy: Chromium warns when a canvas that is drawn on is read more than once
    drawn = """canvas => {
        const copy = new OffscreenCanvas(8, 8);
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(canvas, 0, 0);
        return [...context.getImageData(0, 0, 8, 8).data];
    }"""
    wanted = SHOWN.data.images[270].ravel().tolist()
    for _ in range(50):
        pixels = np.array(canvas.evaluate(drawn)).reshape(8, 8, 4)[..., :3]
        if pixels.any():
            break
        page.wait_for_timeout(100)
    assert pixels.ravel().tolist() == wanted


def test_the_gallery_by_keyboard(pages: Pages, url: str) -> None:
    page = pages.open(url)
    page.locator("#tiles button").first.focus()
    page.keyboard.press("ArrowRight")
    assert focused(page).startswith("image 1, ")
    page.keyboard.press("End")
    assert focused(page).startswith("image 199, ")
    page.keyboard.press("ArrowRight")  # over the edge of the page
    expect(page).to_have_url(f"{url}/?page=2")
    expect(page.locator("#tiles button").first).to_be_focused()
    page.keyboard.press("PageUp")
    expect(page.locator("#tiles button").first).to_have_attribute("data-index", "0")
    expect(page.locator("#tiles button").first).to_be_focused()
    page.keyboard.press("ArrowDown")
    below = focused(page)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    index = int(below.split()[1].rstrip(","))
    expect(dialog.get_by_role("heading")).to_have_text(f"Image {index}")
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("heading")).to_have_text(f"Image {index + 1}")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(f'[data-index="{index + 1}"]')).to_be_focused()
    expect(page).to_have_url(f"{url}/")


def test_an_address_with_an_image_opens_its_page(pages: Pages, url: str) -> None:
    page = pages.open(f"{url}/?image=1234")
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text("Image 1,234")
    expect(page.locator("[aria-current=true]")).to_have_attribute("data-index", "1234")
    page.get_by_role("button", name="Close").click()
    expect(page).to_have_url(f"{url}/?page=7")


def test_the_map_by_mouse(pages: Pages, url: str) -> None:
    page = pages.open(f"{url}/?view=map")
    expect(page.locator("#map-count")).to_have_text(f"{N:,} images")
    page.mouse.move(*where(page, 1000))
    expect(page.locator("#card b")).to_have_text("image 1000")
    page.mouse.wheel(0, -700)
    page.wait_for_timeout(400)
    assert "at=" in page.url
    expect(page.locator("#card b")).to_have_text("image 1000")  # still under the pointer
    page.mouse.down()
    page.mouse.up()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text("Image 1,000")
    expect(page.locator("[aria-current=true]")).to_have_attribute("data-index", "1000")
    page.go_back()
    expect(page.locator("#field")).to_be_visible()
    assert "at=" in page.url


def test_the_map_by_keyboard(pages: Pages, url: str) -> None:
    page = pages.open(f"{url}/?view=map&class=3")
    expect(page.locator("#map-count")).to_have_text(counted(3))
    page.locator("#marks").focus()
    for key in ("+", "+", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    page.wait_for_load_state("networkidle")
    page.keyboard.press("Enter")
    heading = page.get_by_role("dialog").get_by_role("heading")
    expect(heading).to_contain_text("Image ")
    index = int((heading.text_content() or "").removeprefix("Image ").replace(",", ""))
    assert SHOWN.data.labels[index] == 3  # only what the filter keeps is found
    expect(page.locator("#map-live")).to_have_text(f"image {index}, 3")  # and was read out
    page.get_by_role("link", name="On the map").click()
    expect(page.locator("#card b")).to_have_text(f"image {index}")


def test_the_map_by_touch(pages: Pages, url: str) -> None:
    page = pages.open(f"{url}/?view=map", **PHONE)
    expect(page.locator("#map-count")).to_have_text(f"{N:,} images")
    page.touchscreen.tap(*where(page, 600))
    expect(page.locator("#card b")).to_have_text("image 600")
    page.get_by_role("button", name="Open in the gallery").tap()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text("Image 600")


def test_the_legend_shows_one_class_alone(pages: Pages, url: str) -> None:
    page = pages.open(f"{url}/?view=map")
    expect(page.locator("#map-count")).to_have_text(f"{N:,} images")
    seven = page.locator("#legend").get_by_role("button", name="7", exact=True)
    seven.click()
    expect(page.locator("#map-count")).to_have_text(counted(7))
    expect(seven).to_have_attribute("aria-pressed", "true")
    expect(seven).to_be_focused()
    page.get_by_role("link", name="Gallery").click()
    expect(page.get_by_role("status").first).to_have_text(counted(7))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "view", ["/", "/?order=metric:agr&image=5", "/?view=map&colour=metric:agr", "/?view=map"]
)
def test_it_is_accessible(pages: Pages, url: str, view: str, scheme: str) -> None:
    page = pages.open(url + view, color_scheme=scheme)
    page.wait_for_load_state("networkidle")
    assert violations(page) == []


@pytest.mark.parametrize("view", ["/?order=metric:agr", "/?image=5", "/?view=map"])
def test_it_fits_a_phone(pages: Pages, url: str, view: str) -> None:
    page = pages.open(url + view, **PHONE)
    page.wait_for_load_state("networkidle")
    assert overflow(page) == 0
    assert small_targets(page) == []


def test_what_is_missing_is_said(pages: Pages, url: str) -> None:
    pages.expected.append("422")
    page = pages.open(f"{url}/?class=cow")
    expect(page.get_by_role("alert")).to_have_text("there is no class 'cow' in digits")
    with served(Collection(data=SHOWN.data, no_map="There is no map: no embeddings.")) as plain:
        page = pages.open(f"{plain}/?view=map")
        expect(page.get_by_role("alert")).to_have_text("There is no map: no embeddings.")
        page.get_by_role("link", name="Gallery").click()
        expect(page.get_by_role("alert")).to_be_hidden()
        pages.close()  # it may still be asking for thumbnails
