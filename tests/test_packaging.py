"""The directory-to-package table in pyproject.toml is complete."""

import tomllib
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
TOP = sorted(p.name for p in ROOT.iterdir() if (p / "__init__.py").exists())


def test_every_package_directory_is_shipped() -> None:
    on_disk = {"fmsel"}
    for top in TOP:
        inits = (ROOT / top).rglob("__init__.py")
        on_disk |= {".".join(("fmsel", *init.parent.relative_to(ROOT).parts)) for init in inits}
    assert TOP and set(SETUPTOOLS["packages"]) == on_disk


def test_every_shipped_package_imports() -> None:
    assert [name for name in SETUPTOOLS["packages"] if find_spec(name) is None] == []
