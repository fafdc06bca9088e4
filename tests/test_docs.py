"""The pages of docs/: commands print what their console blocks show, links lead somewhere."""

import os
import pkgutil
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
from console import commands, matches, run

DOCS = Path(__file__).parents[1] / "docs"
EXECUTED = [page for page in sorted(DOCS.glob("*.md")) if "```console\n" in page.read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.stem)
def test_commands_print_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "COLUMNS": "80", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    for each in commands(page.read_text(encoding="utf-8")):
        printed = run(each.words, tmp_path, os.environ | settings)
        assert matches(each.shown, printed, each.tolerance), f"$ {each.words}\n{printed}"


def test_the_comparison_of_outputs() -> None:
    assert matches("wrote a.npz\n", "wrote  a.npz")
    assert matches("label … s", "label 17\nof 20, 3 s")
    assert not matches("wrote a.npz", "wrote b.npz")
    assert not matches("wrote a.npz", "wrote a.npz and more")
    assert not matches("", "error: no such file")
    assert matches("accuracy 61.2 ± 4.5", "accuracy 66.0 ± 9", tolerance=5)
    assert not matches("accuracy 61.2", "accuracy 66.3", tolerance=5)
    assert not matches("gain +2.0", "gain -4.0", tolerance=5)
    assert not matches("accuracy 61.2", "accuracy none", tolerance=5)


def test_commands_are_read_with_their_continuations_and_tolerances() -> None:
    page = (
        "```console\n$ cat > a <<'END'\n> 1,2\n> END\n$ cat a\n1,2\n```\n\n"
        "<!-- numbers within 0.5 -->\n```console\n$ echo 3\n3\n```\n```\n$ not run\n```\n"
    )
    first, second, third = commands(page)
    assert (first.words, first.shown, first.tolerance) == ("cat > a <<'END'\n1,2\nEND", "", None)
    assert (second.words, second.shown) == ("cat a", "1,2")
    assert (third.words, third.shown, third.tolerance) == ("echo 3", "3", 0.5)


def test_links_between_pages_and_files_lead_somewhere() -> None:
    """Also in a repository browser, which shows the Markdown and not the site."""
    pages = [*DOCS.rglob("*.md"), *(DOCS.parent / name for name in ("README.md", "CHANGELOG.md"))]
    links = [
        (page, target)
        for page in pages
        if "_build" not in page.parts
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 50
    assert [f"{page.name}: {to}" for page, to in links if not (page.parent / to).exists()] == []


def test_every_name_that_a_package_offers_is_in_the_reference() -> None:
    asked = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    described = set(re.findall(r"[\w.]+", " ".join(re.findall(r"<!-- api: (.*) -->", asked))))
    tops = [path.parent.name for path in DOCS.parent.glob("*/__init__.py")]
    packages = [
        module
        for top in tops
        for module in (f"fmsel.{top}", *_packages(f"fmsel.{top}"))
        if hasattr(import_module(module), "__all__")
    ]
    offered = {module: set(import_module(module).__all__) for module in packages}
    there = set().union(*(offered[module] for module in described & offered.keys()))
    assert len(there) > 40
    assert {module: names - there for module, names in offered.items() if names - there} == {}


def _packages(name: str) -> list[str]:
    found = pkgutil.walk_packages(import_module(name).__path__, f"{name}.")
    return [each.name for each in found if each.ispkg]
