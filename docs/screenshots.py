"""Make label-page.png and label-grid.png: the page of `fmsel label`, half-way through digits.

    python docs/screenshots.py

Needs Chromium and the extra `dev`; the folder that it works in is thrown away.
"""

import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from fmsel.datasets import load_dataset
from fmsel.selection.split import Split

DOCS = Path(__file__).parent
BUDGET, ANSWERED = 400, 250
TILES = 8  # answered in the grid
LABELLED = 3  # neighbours with a label, in the picture
SPLIT = "splits/digits.json"
FMSEL = [sys.executable, "-m", "fmsel.cli"]


def main() -> None:
    """Label, look, keep two pictures."""
    with tempfile.TemporaryDirectory() as folder:
        for words in (
            ["embed", "digits", "--encoder", "patches"],
            ["split", "--random", str(BUDGET), "--dataset", "digits", "--out", SPLIT],
        ):
            subprocess.run([*FMSEL, *words], cwd=folder, check=True)
        with served(Path(folder)) as url:
            indices = Split.load(Path(folder) / SPLIT).indices
            answer(url, indices[:ANSWERED])
            draw(url, steps_back(url, indices[:ANSWERED]))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """`fmsel label` at work; its address."""
    words = ["label", SPLIT, "--all"]
    process = subprocess.Popen([*FMSEL, *words], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield next(line.split()[-1] for line in process.stdout if line.startswith("open "))
    finally:
        process.terminate()
        process.communicate()


def answer(url: str, indices: Sequence[int]) -> None:
    """What Ann has answered before."""
    labels = load_dataset("digits").labels
    with urlopen(f"{url}api/task") as reply:
        who = {"task": json.load(reply)["id"], "annotator": "Ann"}
    headers = {"Content-Type": "application/json"}
    for index in indices:
        body = {**who, "index": index, "choice": str(labels[index]), "replaces": None}
        urlopen(Request(f"{url}api/answers", json.dumps(body).encode(), headers)).close()


def steps_back(url: str, indices: Sequence[int]) -> int:
    """To the latest image that has several neighbours with a label to show."""
    for steps, index in enumerate(reversed(indices), start=1):
        with urlopen(f"{url}api/details/{index}") as reply:
            neighbours = json.load(reply)["neighbours"]
        if sum(each["label"] is not None for each in neighbours) >= LABELLED:
            return steps
    raise RuntimeError(f"no image has {LABELLED} labelled neighbours")


def draw(url: str, steps: int) -> None:
    """Both ways of looking."""
    labels = load_dataset("digits").labels
    program = shutil.which("chromium") or shutil.which("google-chrome")
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(url)
        page.get_by_label("Your name").fill("Ann")
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("image")).to_be_visible()
        for _ in range(steps):
            page.keyboard.press("ArrowLeft")
        page.keyboard.press("d")
        expect(page.locator("#details li")).to_have_count(8)
        keep(page, "label-page.png")
        page.keyboard.press("d")
        page.reload()
        expect(page.get_by_test_id("image")).to_be_visible()
        page.keyboard.press("g")
        tiles = page.get_by_role("option")
        expect(tiles.first).to_be_focused()
        for place in range(TILES):
            index = int(tiles.nth(place).get_attribute("data-index") or -1)
            page.keyboard.press(str(labels[index]))
        expect(page.locator("#count")).to_have_text(f"{ANSWERED + TILES} of {BUDGET} done")
        keep(page, "label-grid.png")
        browser.close()


def keep(page: Page, name: str) -> None:
    """A screenshot of 256 colours, which are enough and much smaller."""
    page.wait_for_load_state("networkidle")
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(DOCS / name, optimize=True)
    print(f"wrote {DOCS / name} ({(DOCS / name).stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
