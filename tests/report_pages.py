"""What the tests of `fmsel report` share: a small study of digits, and a reader of pages.

A test module that uses the study begins with `pytest_plugins = ["report_pages"]`. It imports this
module before pytest does, hence PYTEST_DONT_REWRITE.
"""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from split_project import write_scores
from test_cli_loop import write_embeddings

from fmsel.cli.app import main
from fmsel.datasets import load_dataset
from fmsel.report.story import embedding

QUICK = ["--preset", "smoke", "--steps", "12", "--device", "cpu", "--precision", "fp32"]
FEW = 30  # images on the map beside the chosen


class Reader(HTMLParser):
    """A page's elements: (tag, attributes) each, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def values(self, name: str, tag: str | None = None) -> list[str]:
        """One attribute of every element that has it, or of those of one kind."""
        return [
            value
            for kind, attributes in self.elements
            if tag in (None, kind) and (value := attributes.get(name)) is not None
        ]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def study(root: Path) -> None:
    """Runs of two kinds of split, trained both ways, a loop, scores and embeddings; into `root`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_scores(load_dataset("digits"))
        write_embeddings("embeddings/digits-pixels.npy")
        splits = ["--split", "splits/random.json", "--split", "splits/mixed.json"]
        for words in (
            ["split", "--random", "20", "--dataset", "digits"],
            ["split", "--protos", "1", "--outliers", "1"],
            ["train", *splits, *QUICK, "--seeds", "2"],
            ["train", *splits[:2], *QUICK, "--supervised-only"],
            ["loop", "digits", "--strategy", "random", "--budgets", "4,8", "--seeds", "1", *QUICK],
        ):
            assert main(words) == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The study, with a report of all of it in report.html; the working folder of the module."""
    root = tmp_path_factory.mktemp("study")
    study(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(embedding, "OTHERS", FEW)
        assert main(["report", "runs", "scores", "splits", "loops"]) == 0
        yield root
