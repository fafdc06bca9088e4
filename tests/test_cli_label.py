"""`fmsel label` as it is typed: a real server, killed in the middle, to a split that trains."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.experiments.loop import folder as loop_folder
from fmsel.labeling.page.run import ASKED, LOOP
from fmsel.selection.split import Split

SMOKE = ["--preset", "smoke", "--steps", "4", "--device", "cpu"]
LABEL = ["label", "splits/random.json", "--all"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with splits/random.json, twelve digits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["split", "--random", "12", "--dataset", "digits"]) == 0
    return tmp_path


class Server:
    """A process of `fmsel label`, and what it printed."""

    def __init__(self, words: list[str], base: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fmsel.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self.printed = list[str]()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line.rstrip())
            if line.startswith("open http"):
                break
        else:
            raise AssertionError(self.process.communicate())
        self.url = self.printed[-1].removeprefix("open ")
        self.task = ""

    def get(self, path: str) -> Any:
        with urlopen(self.url + path, timeout=60) as response:
            return json.load(response)

    def post(self, path: str, **body: Any) -> Any:
        self.task = self.task or self.get("api/task")["id"]
        content = json.dumps({"task": self.task, **body}).encode()
        request = Request(self.url + path, content, {"content-type": "application/json"})
        with urlopen(request, timeout=60) as response:
            return json.load(response)

    def answer(self, index: int, choice: str | None, annotator: str = "ann", **more: Any) -> Any:
        body = {"annotator": annotator, "index": index, "choice": choice}
        return self.post("api/answers", **body, **more)

    def stop(self, number: int) -> tuple[int, list[str], str]:
        """Exit code, what was printed from then on, and errors."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out.splitlines(), err


@contextmanager
def serving(*words: str) -> Iterator[Server]:
    server = Server(list(words))
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        with suppress(ValueError):
            server.process.communicate(timeout=60)


def true_names() -> dict[int, str]:
    labels = load_dataset("digits").labels
    return {index: str(labels[index]) for index in Split.load(Path("splits/random.json")).indices}


def test_a_killed_server_loses_nothing_and_the_split_trains() -> None:
    truth = true_names()
    indices = list(truth)
    out, journal = Path("splits/random-labelled.json"), Path("splits/random-answers.jsonl")
    with serving(*LABEL) as server:
        assert server.printed[:2] == [
            "12 images of digits to label",
            f"answers are saved in {journal}; Ctrl-C ends it",
        ]
        assert server.url.startswith("http://127.0.0.1:")
        first_url = server.url
        for index in indices[:5]:
            server.answer(index, truth[index], key=f"k{index}")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(60)
    assert not out.exists() and journal.read_bytes().count(b"\n") == 6
    with journal.open("ab") as file:
        file.write(b'{"seq": 6, "time": "20')  # it was writing when it was killed
    with serving(*LABEL) as server:
        assert server.printed[0] == "12 images of digits to label, 5 of them done"
        assert server.url == first_url  # where the browser keeps what it could not send
        again = server.answer(indices[4], truth[indices[4]], key=f"k{indices[4]}")
        assert again == {"seq": 5, "done": 5, "total": 12, "n_classes": 10}
        claimed = server.post("api/claim", annotator="bob", count=200, skip=[], **{"from": None})
        assert claimed["indices"] == indices[5:]
        for index in indices[5:]:
            server.answer(index, truth[index], "bob")
        assert Split.load(out).awaited == 0
        code, printed, err = server.stop(signal.SIGTERM)
    assert code == 0 and "note: " in err and "was cut off" in err and "Traceback" not in err
    assert printed == [
        f"wrote {out}: 12 of 12 images of digits have a label",
        "random-answers.jsonl: 12 labelled; by ann 5, bob 7",
        f"next: fmsel train --split {out}",
    ]
    made = Split.load(out)
    assert made.labels == [int(truth[index]) for index in indices]
    assert made.provenance["labels"][-1]["annotators"] == {"ann": 5, "bob": 7}
    assert main(["train", "--split", str(out), *SMOKE]) == 0
    words = ["import", str(journal), "--split", "splits/random.json", "--out", "imported.json"]
    assert main(["labels", *words]) == 0
    assert Split.load(Path("imported.json")).labels == made.labels


def test_a_second_server_is_refused_and_one_that_nobody_used_leaves_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(project.rglob("*"))
    with serving(*LABEL) as server:
        capsys.readouterr()
        assert main(LABEL) == 2
        err = capsys.readouterr().err
        assert "error: another process writes to splits/random-answers.jsonl; label at" in err
        assert server.get("api/task")["total"] == 12  # the first goes on
        code, printed, err = server.stop(signal.SIGINT)
    assert (code, printed, err) == (0, ["nobody answered, so nothing was written"], "")
    assert sorted(project.rglob("*")) == before


def test_many_at_once_lose_nothing_when_the_server_is_killed() -> None:
    """The benchmark, shortly: it ends with 1 where an answer is lost, refused or there twice."""
    benchmark = Path(__file__).parents[1] / "benchmarks" / "label_load.py"
    words = ["--clients", "10", "--seconds", "2", "--images", "60", "--out", "load.json"]
    subprocess.run([sys.executable, str(benchmark), *words], check=True, capture_output=True)
    found = json.loads(Path("load.json").read_text())
    assert found["acknowledged"] == found["acknowledged_and_in_journal"] > 50
    assert found["in_journal"] - found["acknowledged"] <= 10  # on their way when it was killed


def test_others_need_the_token() -> None:
    with serving(*LABEL, "--host", "0.0.0.0") as server:
        address, _, token = server.url.partition("?token=")
        assert len(token) > 20
        port = address.rstrip("/").rpartition(":")[2]
        with pytest.raises(HTTPError) as refused:
            urlopen(f"http://127.0.0.1:{port}/api/task", timeout=60)
        assert refused.value.code == 401
        cookie = {"cookie": f"fmsel-{port}={token}"}
        with urlopen(Request(f"http://127.0.0.1:{port}/api/task", headers=cookie)) as response:
            assert json.load(response)["total"] == 12


def test_no_path_leads_out_and_no_name_leads_in() -> None:
    """As bytes on the wire, since clients tidy paths."""
    paths = ["/../../etc/passwd", "/static/../app.py", "/static/%2e%2e/app.py", "//etc/passwd"]
    with serving(*LABEL) as server:
        port = int(server.url.rstrip("/").rpartition(":")[2])
        requests = [(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n", 404) for path in paths]
        requests += [
            ("GET /api/task HTTP/1.1\r\nHost: evil.example\r\n", 421),
            ("GET /api/task HTTP/1.0\r\n", 421),
            (f"POST /api/finish HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: x\r\n", 400),
        ]
        for request, status in requests:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
                raw.sendall(request.encode() + b"\r\n")
                assert int(raw.recv(1000).split()[1]) == status, request


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["splits/none.json"], "splits/none.json cannot be read as a split"),
        (["splits/random.json"], "all 12 images of the split have a label already; pass --all"),
        ([*LABEL[1:], "--port", "70000"], "--port must be 0 (a free one) or in 1..65535"),
        ([*LABEL[1:], "--host", "localhost"], "--host must be an IP address"),
        ([*LABEL[1:], "--votes", "0"], "--votes must be 1 or more, got 0"),
        ([*LABEL[1:], "--agreement", "some"], "agreement must be majority or all"),
        ([*LABEL[1:], "--classes", "cat,dog"], "'cat' is no class of digits"),
        ([*LABEL[1:], "--journal", "a.txt"], "a journal's name must end in .jsonl, got a.txt"),
        ([*LABEL[1:], "--journal", "splits/random.json"], "must be three files"),
        ([*LABEL[1:], "--out", "splits/random.json"], "must be three files"),
        ([*LABEL[1:], "--out", "there.json"], "there.json already exists and was not made of"),
        ([*LABEL[1:], "--scores", "none.npz"], "there is no scores file none.npz"),
        ([*LABEL[1:], "--embeddings", "none.npy"], "none.npy is no embeddings file"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    words: list[str], sentence: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there.json").write_text("mine")
    before = sorted(project.rglob("*"))
    capsys.readouterr()
    assert main(["label", *words]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and captured.err.count("\n") == 1
    assert captured.err.startswith("error: ") and captured.out == ""
    assert sorted(project.rglob("*")) == before


def test_a_folder_without_classes_gets_them_from_people(project: Path) -> None:
    folder = project / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    assert main(["split", "--random", "4", "--dataset", "photos", "--out", "photos.json"]) == 0
    with serving("label", "photos.json", "--classes", "cat, dog") as server:
        assert f"classes that people add are kept in {folder}/classes.txt" in server.printed
        assert server.get("api/task")["classes"] == ["cat", "dog"]
        server.post("api/classes", name="fox", annotator="ann")
        indices = Split.load(Path("photos.json")).indices
        for index, choice in zip(indices, ["cat", "fox", "none of these", "fox"], strict=True):
            server.answer(index, choice)
        code, printed, _ = server.stop(signal.SIGINT)
    assert code == 0
    assert printed == [
        "wrote photos-labelled.json: 3 of 4 images of photos have a label",
        "photos-answers.jsonl: 3 labelled, 1 skipped; by ann 3",
        "next: the same command for the other 1, or leave them out: fmsel labels import "
        "photos-answers.jsonl --split photos.json --out photos-part.json --drop-unlabelled",
    ]
    assert (folder / "classes.txt").read_text() == "cat\ndog\nfox\n"
    assert main(printed[-1].partition("out: fmsel ")[2].split()) == 0
    assert Split.load(Path("photos-part.json")).labels == [0, 2, 2]
    assert main(["train", "--split", "photos-part.json", *SMOKE]) == 0


def test_a_loop_reads_what_was_labelled_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """Both rounds, each on a page of its own; one image is skipped."""
    assert (ASKED, LOOP) == (loop_folder.ASKED, loop_folder.LOOP)
    words = ["loop", "digits", "--strategy", "random", "--budgets", "10,20", "--seeds", "1"]
    words += ["--labels", "answers", "--out", "loop", *SMOKE]
    truth = load_dataset("digits").labels
    for number, asked in enumerate(("round-0", "round-1")):
        path = f"loop/tracks/random-seed0/{asked}/asked.json"
        capsys.readouterr()
        assert main(words) == 0
        assert f"label them on a page, `fmsel label {path}`" in capsys.readouterr().out
        with serving("label", path) as server:
            assert server.printed[0] == f"{10 + number} images of digits to label"
            items = server.get("api/items")["items"]
            for place, item in enumerate(items):
                skip = not number and not place
                server.answer(item["index"], "skip" if skip else str(truth[item["index"]]))
            code, printed, _ = server.stop(signal.SIGINT)
        assert code == 0 and printed[-1].startswith("next: give the command of the loop again")
    capsys.readouterr()
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "waiting" not in out
    lines = Path("loop/loop.csv").read_text().splitlines()
    assert [line.split(",")[4:7] for line in lines[1:]] == [["0", "10", "9"], ["1", "20", "20"]]
