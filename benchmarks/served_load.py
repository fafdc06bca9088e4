"""`fmsel report --serve` with 100,000 images: start, memory, pages, frames of the map, 20 clients.

    python benchmarks/served_load.py [--images 100000] [--clients 20] [--seconds 30] [--out FILE]

The images, four metrics, two splits and the map's positions are made up, so no time goes into
reading or placing them. The server is a process of its own on this machine, as are the browser
(Chromium without a graphics card) and the clients, which share its cores. A client opens a random
page of a random order and fetches its thumbnails, then the next; a page counts once all of it came.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import numpy as np

from fmsel.artefacts import sha256_array, versions
from fmsel.datasets import ImageDataset, Source
from fmsel.datasets.images.dataset import WeakAugment
from fmsel.metrics.scores import MetricRecord, Scores
from fmsel.report.served.app import image_app
from fmsel.report.served.collection import Collection
from fmsel.report.served.positions import Positions
from fmsel.seeds import generator
from fmsel.selection.random import Random
from fmsel.selection.split import make_split
from fmsel.serving import listen, serve

SIDE, CLASSES = 32, 10
METRICS = ("agr", "conf", "ret", "knn-density")
FRAMES = 150
# What a frame costs, and when it came: told by the page's own animation frames.
COUNT_FRAMES = """(() => {
  const ask = window.requestAnimationFrame.bind(window);
  window.cost = []; window.came = [];
  window.requestAnimationFrame = (draw) => ask((now) => {
    const began = performance.now(); draw(now);
    window.cost.push(performance.now() - began); window.came.push(now);
  });
})()"""


def made_up(n: int) -> Collection:
    rng = generator(0, "served")
    coarse = rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    images = coarse.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)
    images += rng.integers(0, 32, images.shape, dtype=np.uint8)  # shrinks as little as photographs
    labels = rng.integers(0, CLASSES, n)
    data = ImageDataset(
        name="synthetic",
        source=Source(dataset="./synthetic"),
        part="train",
        images=images,
        labels=labels,
        ids=np.arange(n).astype(str),
        class_names=tuple(f"class {c}" for c in range(CLASSES)),
        weak=WeakAugment(),
    )
    arrays = {name: rng.standard_normal(n, dtype=np.float32) for name in METRICS}
    records = {
        name: MetricRecord(
            parameters={},
            seed=0,
            seconds=0.0,
            evidence_seconds={},
            device="cpu",
            label_use="none",
            labels_sha256=data.labels_sha256,
            sha256=sha256_array(array),
        )
        for name, array in arrays.items()
    }
    centres = rng.normal(size=(CLASSES, 2)) * 4
    return Collection(
        data=data,
        scores=Scores(dataset=data.describe(), arrays=arrays, records=records),
        splits={
            "random": make_split(data, Random(), batch_size=40),
            "many": make_split(data, Random(), batch_size=1_000, seed=1),
        },
        positions=Positions(
            points=(centres[labels] + rng.normal(size=(n, 2))).astype(np.float32),
            told="Made up: a cloud for each class.",
        ),
    )


def serve_made_up(n: int) -> None:
    """In this process, which does nothing else; says when it is ready."""
    listener, access = listen("127.0.0.1", 0)
    collection = made_up(n)
    began = time.perf_counter()
    app = image_app(collection, access)
    print(json.dumps({"port": access.port, "start_s": time.perf_counter() - began}), flush=True)
    serve(app, listener)


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1e3


class Client(threading.Thread):
    """One person who pages."""

    def __init__(self, port: int, number: int, until: float) -> None:
        super().__init__()
        self.link, self.until = HTTPConnection("127.0.0.1", port, timeout=60), until
        self.rng = generator(0, "client", number)
        self.seconds: list[float] = []
        self.failed = 0

    def get(self, path: str) -> bytes:
        self.link.request("GET", path)
        answer = self.link.getresponse()
        content = answer.read()
        self.failed += answer.status != 200
        return content

    def run(self) -> None:
        version, pages = json.loads(self.get("/api/about"))["version"], 1
        while time.perf_counter() < self.until:
            began = time.perf_counter()
            order = quote(f"metric:{self.rng.choice(METRICS)}")
            page = int(self.rng.integers(1, pages + 1))
            found = json.loads(self.get(f"/api/images?order={order}&page={page}"))
            pages, shown = found["pages"], [each["index"] for each in found["images"]]
            for start in range(0, len(shown), 64):
                part = ",".join(map(str, shown[start : start + 64]))
                self.get(f"/sheets/{version}?indices={part}")
            self.seconds.append(time.perf_counter() - began)


def under_load(port: int, clients: int, seconds: float) -> dict[str, float]:
    until = time.perf_counter() + seconds
    people = [Client(port, number, until) for number in range(clients)]
    for each in people:
        each.start()
    for each in people:
        each.join()
    times = np.array([t for each in people for t in each.seconds])
    return {
        "clients": clients,
        "pages": len(times),
        "pages_per_s": round(len(times) / seconds, 1),
        "p50_ms": round(float(np.median(times)) * 1e3),
        "p99_ms": round(float(np.quantile(times, 0.99)) * 1e3),
        "failed": sum(each.failed for each in people),
    }


def in_a_browser(url: str) -> dict[str, float]:
    import shutil

    from playwright.sync_api import Page, sync_playwright

    def until(page: Page, condition: str, began: float) -> float:
        while not page.evaluate(condition):  # its own waiting needs eval, which the page forbids
            time.sleep(0.005)
        return round((time.perf_counter() - began) * 1e3)

    # The thumbnails in the window and just below it are those of the first two sheets.
    drawn = """(() => { const all = [...document.querySelectorAll("#tiles canvas:not(.mark)")];
      return all.length == 200 && [0, 63].every((i) =>
        all[i].getContext("2d").getImageData(9, 9, 1, 1).data[3]) &&
        document.querySelector("#tiles").ariaBusy === null; })()"""
    found: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(COUNT_FRAMES)
        began = time.perf_counter()
        page.goto(url)
        found["first_page_ms"] = until(page, drawn, began)
        waits = []
        for number in range(2, 12):
            began = time.perf_counter()
            page.get_by_role("link", name="Next page").first.click()
            waits.append(until(page, f"location.search == '?page={number}' && {drawn}", began))
        found["next_page_ms"] = sorted(waits)[len(waits) // 2]
        for name, at in (("whole", ""), ("thumbnails", "&at=32768,32768,16")):
            began = time.perf_counter()
            page.goto(f"{url}?view=map{at}")
            found[f"map_{name}_ms"] = until(page, "window.cost.length > 0", began)
            page.wait_for_timeout(2_000)
            page.evaluate("window.cost.length = window.came.length = 0")
            page.mouse.move(500, 400)
            page.mouse.down()
            for step in range(FRAMES):
                page.mouse.move(500 + 4 * (step % 40), 400 + 3 * (step % 30))
            page.mouse.up()
            cost, came = page.evaluate("[window.cost, window.came]")
            found[f"map_{name}_frames"] = len(cost)
            for kind, values in (("script", cost), ("interval", np.diff(came))):
                found[f"map_{name}_{kind}_p50_ms"] = round(float(np.median(values)), 1)
                found[f"map_{name}_{kind}_p95_ms"] = round(float(np.quantile(values, 0.95)), 1)
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_made_up(options.images)
        return
    command = [sys.executable, __file__, "--serve", "--images", str(options.images)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            record = {
                "images": options.images,
                "cores": len(os.sched_getaffinity(0)),
                "load_average": os.getloadavg()[0],
                "versions": versions("starlette", "uvicorn") | {"machine": platform.machine()},
                "start_s": round(ready["start_s"], 2),
                "memory_at_start_mb": round(resident_mb(server.pid)),
                "browser": in_a_browser(f"http://127.0.0.1:{ready['port']}/"),
                "load": under_load(ready["port"], options.clients, options.seconds),
                "memory_at_end_mb": round(resident_mb(server.pid)),
            }
        finally:
            server.terminate()
    print(json.dumps(record, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
