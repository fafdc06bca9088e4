"""Data flows one way: a package imports only from those on its left; `fmsel --help` stays quick."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    "datasets",
    "training",
    "embeddings",
    "metrics",
    "selection",
    "serving",
    "labeling",
    "fixmatch",
    "experiments",
    "report",
    "cli",
)


def imported_packages(source: str) -> set[str]:
    """The fmsel packages that a module's source imports, at any depth of the file."""
    names = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = (name.split(".") for name in names)
    return {p[1] for p in parts if p[0] == "fmsel" and len(p) > 1} & set(ORDER)


@pytest.mark.parametrize("package", ORDER)
def test_imports_point_left(package: str) -> None:
    allowed = set(ORDER[: ORDER.index(package) + 1])
    files = list((ROOT / package).rglob("*.py"))
    wrong = [
        f"{path.relative_to(ROOT)} imports fmsel.{name}"
        for path in files
        for name in sorted(imported_packages(path.read_text()) - allowed)
    ]
    assert files and wrong == []


def test_the_root_package_imports_no_other() -> None:
    files = list((ROOT / "src" / "fmsel").rglob("*.py"))
    assert files and [p.name for p in files if imported_packages(p.read_text())] == []


def test_the_check_sees_a_wrong_import() -> None:
    assert imported_packages("def f():\n    from fmsel.cli import app") == {"cli"}


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, fmsel.cli.app as a; code = a.main(['--help']); "
        "heavy = {'torch', 'sklearn', 'scipy', 'matplotlib'} & sys.modules.keys(); "
        "sys.exit(code or bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
