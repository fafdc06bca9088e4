"""The packages that fmsel needs: their versions, whether they fit, whether they can be imported."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.version import InvalidVersion

# How a package is imported where that is not its name.
MODULES = {"faiss-cpu": "faiss", "pillow": "PIL", "scikit-learn": "sklearn"}
FOR_DEVELOPERS = "dev"
TIMEOUT = 300.0  # seconds for all imports; a driver that hangs would hold torch for ever


@dataclass
class Packages:
    """What was found of them.

    Attributes:
        needed: package -> version, None where it is not installed; Python and fmsel come first.
        extras: extra -> package -> version, likewise.
        torch: what `doctor_probe` says that torch sees; None where it cannot be imported.
        broken: a sentence for each needed package that is missing, does not fit or is broken.
        odd: a sentence for each package of an extra that is installed and does not fit.
    """

    needed: dict[str, str | None] = field(default_factory=dict)
    extras: dict[str, dict[str, str | None]] = field(default_factory=dict)
    torch: dict[str, Any] | None = None
    broken: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def examine_packages(found: Packages) -> None:
    """Fill in `found`, as far as can be."""
    needed, extras = _requirements()
    found.needed = {"fmsel": _version("fmsel")}
    found.needed |= {each.name: _version(each.name) for each in needed}
    for name, members in extras.items():
        found.extras[name] = {each.name: _version(each.name) for each in members}
        installed = [each for each in members if _version(each.name) is not None]
        found.odd += filter(None, map(_misfit, installed))
    found.broken += filter(None, map(_misfit, needed))
    errors, found.torch = import_all([_module(each) for each in needed])
    for each in needed:
        if (error := errors.get(_module(each))) and found.needed[each.name] is not None:
            found.broken.append(
                f"{each.name} {found.needed[each.name]} cannot be imported ({error}); install it "
                f"again: pip install --force-reinstall '{each}'" + _pair(each.name)
            )


def import_all(modules: Sequence[str]) -> tuple[dict[str, str], dict[str, Any] | None]:
    """(module -> why it cannot be imported, what torch sees), tried in other processes."""
    errors: dict[str, str] = {}
    torch: dict[str, Any] | None = None
    waiting = list(modules)
    while waiting:
        lines, ending = _probe(waiting)
        current = waiting[0]
        for kind, *rest in lines:
            if kind == "torch":
                torch = rest[0]
            elif kind == "start":
                current = rest[0]
            elif rest[1]:
                errors[rest[0]] = rest[1]
        if not ending:
            break
        errors[current] = ending
        waiting = waiting[waiting.index(current) + 1 :]
    return errors, torch


def _probe(modules: Sequence[str]) -> tuple[list[list[Any]], str]:
    """(lines of the probe, how its process broke down: "" = it did not)."""
    # -P: a folder here that is called like a library is not that library
    command = [sys.executable, "-P", "-m", "fmsel.report.doctor_probe", *modules]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as stop:
        out = stop.stdout or b""
        text = out.decode() if isinstance(out, bytes) else out
        return _parsed(text), f"importing it took more than {TIMEOUT:.0f} s"
    ending = f"its import ended Python with code {done.returncode}" if done.returncode else ""
    return _parsed(done.stdout), ending


def _parsed(text: str) -> list[list[Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("[")]


def _requirements() -> tuple[list[Requirement], dict[str, list[Requirement]]]:
    """What fmsel needs, and what each of its extras does, as it was installed."""
    every = [Requirement(text) for text in metadata.requires("fmsel") or ()]
    needed = [each for each in every if each.marker is None or each.marker.evaluate({"extra": ""})]
    names = metadata.metadata("fmsel").get_all("Provides-Extra") or []
    extras = {
        name: [each for each in every if each not in needed and _of_extra(each, name)]
        for name in sorted(names)
        if name != FOR_DEVELOPERS
    }
    return needed, extras


def _of_extra(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def _module(requirement: Requirement) -> str:
    return MODULES.get(requirement.name, requirement.name.replace("-", "_"))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _misfit(requirement: Requirement) -> str | None:
    """What is wrong with the installed version; None = nothing."""
    version = _version(requirement.name)
    plain = f"{requirement.name}{requirement.specifier}"
    if version is None:
        return f"{requirement.name} is not installed; pip install '{plain}'"
    if not _fits(requirement, version):
        return (
            f"{requirement.name} {version} is installed, and fmsel needs {plain}; "
            f"pip install '{plain}'"
        )
    return None


def _fits(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return True  # a build of one's own


def _pair(package: str) -> str:
    """What to say of a torchvision that was made for another torch."""
    if package != "torchvision":
        return ""
    version = _version("torch")
    for text in metadata.requires("torchvision") or ():
        pair = Requirement(text)
        if pair.name == "torch" and version is not None and not _fits(pair, version):
            return f"; it needs torch{pair.specifier}, and torch {version} is installed"
    return "; each torchvision belongs to one torch, so install both in one command"
