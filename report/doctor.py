"""`examine`: whether fmsel works on this machine, and what it has to work with."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmsel.machine import memory
from fmsel.report.doctor_packages import Packages, examine_packages
from fmsel.report.doctor_system import cpu_model, nvidia_gpus, usable_cores

GIGABYTE = 1e9
LITTLE_SPACE = 5 * GIGABYTE  # the largest archive that is downloaded has 2.6 GB
# What torchvision unpacks or keeps in the data root; a test compares them with its classes.
FILES = {
    "cifar10": ("cifar-10-batches-py", "cifar10", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz"),
    "digits": (),  # comes with scikit-learn
    "stl10": ("stl10_binary", "stl10_binary.tar.gz"),
    "svhn": ("train_32x32.mat",),
}
# What is printed of the environment where it is set.
VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "CUDA_VISIBLE_DEVICES",
    "FMSEL_CACHE",
    "XDG_CACHE_HOME",
    "TORCH_HOME",
    "HF_HOME",
    "LANG",
    "LC_ALL",
    "TERM",
    "NO_COLOR",
    "COLUMNS",
)


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what to do: one sentence.

    Attributes:
        text: the sentence.
        needed: fmsel does not work until it is mended.
    """

    text: str
    needed: bool = False


@dataclass
class Checkup:
    """What was found.

    Attributes:
        facts: section -> what it holds, all of it fit for JSON.
        problems: the needed ones first.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def works(self) -> bool:
        """Whether nothing that is needed is wrong."""
        return not any(problem.needed for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        problems = [{"text": each.text, "needed": each.needed} for each in self.problems]
        return {"works": self.works, **self.facts, "problems": problems}


def examine() -> Checkup:
    """Look at packages, devices, storage and settings; raises nothing, whatever is broken."""
    checkup = Checkup()
    packages = Packages()
    sections: Mapping[str, Callable[[Checkup], Any]] = {
        "packages": lambda found: _packages(found, packages),
        "machine": lambda found: _machine(found, packages),
        "gpus": lambda found: _gpus(found, packages),
        "storage": _storage,
        "datasets": _datasets,
        "settings": _settings,
    }
    for name, look in sections.items():
        try:
            checkup.facts[name] = look(checkup)
        except Exception as error:  # the others are still worth a look
            checkup.facts[name] = None
            checkup.problems.append(Problem(f"{name}: could not be examined ({error})"))
    checkup.problems.sort(key=lambda each: not each.needed)
    return checkup


def _packages(checkup: Checkup, packages: Packages) -> dict[str, Any]:
    examine_packages(packages)
    checkup.problems += [Problem(text, needed=True) for text in packages.broken]
    checkup.problems += [Problem(text) for text in packages.odd]
    return {"needed": packages.needed, "extras": packages.extras}


def _machine(checkup: Checkup, packages: Packages) -> dict[str, Any]:
    cores, threads = usable_cores(), (packages.torch or {}).get("threads")
    if threads is not None and threads < cores:
        checkup.problems.append(
            Problem(
                f"torch uses {threads} of {cores} cores; where a CPU trains, unset OMP_NUM_THREADS "
                f"or set it to {cores}"
            )
        )
    return {
        "system": platform.platform(),
        "python": f"{platform.python_version()} ({sys.executable})",
        "cpu": cpu_model(),
        "cores": cores,
        "threads": threads,
        "memory": memory(),
        "device": (packages.torch or {}).get("device"),
        "precision": (packages.torch or {}).get("precision"),
    }


def _gpus(checkup: Checkup, packages: Packages) -> dict[str, Any]:
    """What the driver sees and what torch sees, which may be less."""
    driver, torch = nvidia_gpus(), packages.torch or {}
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if driver and torch and not torch["gpus"] and not hidden:
        build = f"for CUDA {torch['cuda']}" if torch["cuda"] else "without CUDA"
        version = driver[0]["driver"]
        checkup.problems.append(
            Problem(
                f"the driver {version} sees a GPU, but torch, which was built {build}, does not; "
                "install a torch for this driver's CUDA (https://pytorch.org/get-started)"
            )
        )
    if torch.get("error"):
        checkup.problems.append(Problem(torch["error"]))
    return {"driver": driver, "torch": torch.get("gpus"), "cuda": torch.get("cuda")}


def _storage(checkup: Checkup) -> dict[str, dict[str, Any]]:
    from fmsel.artefacts import cache_dir

    found = {
        "cache": _folder(cache_dir()),
        "working folder": _folder(Path.cwd(), measured=False),
    }
    for name, each in found.items():
        if not each["writable"]:
            checkup.problems.append(
                Problem(
                    f"the {name} {each['path']} cannot be written to; mend its permissions"
                    + (", or set FMSEL_CACHE to another folder" if name == "cache" else "")
                )
            )
        elif each["free"] < LITTLE_SPACE:
            checkup.problems.append(
                Problem(
                    f"only {each['free'] / GIGABYTE:.1f} GB are free at {each['path']}; the "
                    "largest download needs 5 GB, and a run keeps two checkpoints"
                )
            )
    return found


def _folder(path: Path, measured: bool = True) -> dict[str, Any]:
    """A folder that need not be there, with the space that it has and takes, in bytes."""
    nearest = next(each for each in (path, *path.absolute().parents) if each.exists())
    return {
        "path": str(path),
        "size": _size(path) if measured else None,
        "free": shutil.disk_usage(nearest).free,
        "writable": os.access(nearest, os.W_OK | os.X_OK),
    }


def _size(path: Path) -> int:
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(Path(folder, name)).st_size
            except OSError:  # gone meanwhile
                continue
    return total


def _datasets(checkup: Checkup) -> dict[str, str]:
    """Where each built-in data set is found without --data-root; "" = to be downloaded."""
    from fmsel.artefacts import cache_dir

    root = cache_dir() / "data"
    places = {"digits": "comes with scikit-learn"}
    for name, files in FILES.items():
        there = next((root / file for file in files if (root / file).exists()), None)
        places.setdefault(name, str(there or ""))
    return dict(sorted(places.items()))


def _settings(checkup: Checkup) -> dict[str, Any]:
    encoding = (sys.stdout.encoding or "").lower()
    if not encoding.startswith("utf"):
        checkup.problems.append(
            Problem(
                f"the terminal's encoding is {encoding or 'unknown'}, which lacks characters that "
                "fmsel prints; set PYTHONUTF8=1, or LANG to a UTF-8 locale such as C.UTF-8"
            )
        )
    return {
        "encoding": encoding,
        "terminal": sys.stdout.isatty(),
        "columns": shutil.get_terminal_size().columns,
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
