"""Fifty people labelling at once, in a hurry: does `fmsel label` lose an answer?

    python benchmarks/label_load.py [--clients 50] [--seconds 60] [--images 1000] [--out FILE]

Each client claims images, looks at them (the picture is fetched) and answers, changes one answer in
ten and sends one in twenty twice, as after a lost reply; then it begins again from the first image.
At the end, in the middle of the hammering, the server is killed (SIGKILL). Every answer that a
client was told is saved must then be in the journal, and nothing twice. Server and clients share
the machine.
"""

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fmsel.artefacts import check_output, versions, write_json
from fmsel.datasets import load_dataset
from fmsel.labeling.page.lines import Said, read_lines
from fmsel.selection.random import Random
from fmsel.selection.split import make_split

CLAIM = 20  # images at a time
CHANGED, TWICE = 0.1, 0.05  # share of answers that are changed, and that are sent twice


@dataclass
class Client:
    """One person; `told` are the answers that the server said it has, by key."""

    name: str
    port: int
    seed: int
    told: dict[str, tuple[int, str]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)

    def work(self, stop: threading.Event) -> None:
        """Label until told to stop, or until the server is gone."""
        self.rng, self.seqs = random.Random(self.seed), dict[int, int]()  # seq: what counts
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            self.task = self.call("GET", "/api/task")["id"]
            items = self.call("GET", f"/api/items?annotator={self.name}")["items"]
            order = [item["index"] for item in items]
            while not stop.is_set():
                body = {"annotator": self.name, "from": None, "count": CLAIM, "skip": []}
                claimed = self.call("POST", "/api/claim", body)["indices"]
                for index in claimed or self.rng.sample(order, CLAIM):
                    if stop.is_set():
                        break
                    self.label(index)
        except (OSError, http.client.HTTPException):
            pass  # killed

    def label(self, index: int) -> None:
        self.picture(index)
        self.answer(index)
        if self.rng.random() < CHANGED:
            self.answer(index)

    def answer(self, index: int) -> None:
        key, choice = f"{self.name}-{len(self.seconds)}", str(self.rng.randrange(10))
        body = {"annotator": self.name, "index": index, "choice": choice, "key": key}
        body["replaces"] = self.seqs.get(index)
        began = time.perf_counter()
        saved = self.call("POST", "/api/answers", body)
        self.seconds.append(time.perf_counter() - began)
        if "seq" not in saved:
            return
        self.seqs[index], self.told[key] = saved["seq"], (index, choice)
        if self.rng.random() < TWICE:
            again = self.call("POST", "/api/answers", body)
            if again.get("seq") != saved["seq"]:
                self.problems["saved twice"] += 1

    def picture(self, index: int) -> None:
        self.connection.request("GET", f"/images/{index}?side=256")
        self.connection.getresponse().read()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"content-type": "application/json"}
        content = json.dumps({"task": self.task, **body}) if body else None
        self.connection.request(method, path, content, headers)
        response = self.connection.getresponse()
        found = json.loads(response.read())
        if response.status != 200:
            self.problems[f"{response.status}: {found['error']}"] += 1
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.out is not None:
        check_output(given.out)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), given.clients, given.seconds, given.images)
    print(json.dumps(result, indent=2))
    if given.out is not None:
        write_json(given.out, result)
    lost = result["acknowledged"] - result["acknowledged_and_in_journal"]
    sys.exit(1 if lost or result["problems"] or result["keys_twice"] else 0)


def measure(folder: Path, count: int, seconds: float, images: int) -> dict[str, Any]:
    """Hammer, kill, and compare what was told with what is there."""
    data = load_dataset("digits")
    make_split(data, Random(), batch_size=images, seed=0).save(folder / "split.json")
    server, port = start(folder)
    stop = threading.Event()
    clients = [Client(f"person-{number}", port, number) for number in range(count)]
    threads = [threading.Thread(target=each.work, args=(stop,)) for each in clients]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    server.send_signal(signal.SIGKILL)
    took = time.perf_counter() - began
    stop.set()
    for thread in threads:
        thread.join()
    server.wait()
    return compared(folder / "split-answers.jsonl", clients, took) | {
        "clients": count,
        "images": images,
        "seconds": round(took, 1),
        "cores": os.cpu_count(),
        "versions": versions("starlette", "uvicorn"),
    }


def start(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """The server, once it says where it is."""
    words = ["label", str(folder / "split.json"), "--all", "--votes", "1000"]
    server = subprocess.Popen(
        [sys.executable, "-m", "fmsel.cli", *words], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("open http"):
            return server, int(line.rstrip("/\n").rpartition(":")[2])
    raise SystemExit("the server did not start")


def compared(journal: Path, clients: list[Client], took: float) -> dict[str, Any]:
    """Answers told against answers there."""
    entries = read_lines(journal.read_bytes(), journal.name).entries
    said = [each for each in entries if isinstance(each, Said)]
    there = {each.key: (each.index, each.choice) for each in said}
    told = {key: value for client in clients for key, value in client.told.items()}
    waits = np.concatenate([client.seconds for client in clients])
    problems: Counter[str] = sum((client.problems for client in clients), Counter())
    return {
        "acknowledged": len(told),
        "acknowledged_and_in_journal": sum(there.get(key) == value for key, value in told.items()),
        "in_journal": len(said),
        "keys_twice": len(said) - len(there),
        "problems": dict(problems),
        "answers_per_second": round(len(told) / took, 1),
        "p50_ms": round(1000 * float(np.quantile(waits, 0.5)), 1),
        "p99_ms": round(1000 * float(np.quantile(waits, 0.99)), 1),
        "max_ms": round(1000 * float(waits.max()), 1),
    }


if __name__ == "__main__":
    main()
