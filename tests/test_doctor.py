"""`fmsel doctor`: what is there, and what is wrong, whatever is broken."""

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from rich.console import Console

from fmsel import machine
from fmsel.cli.app import main
from fmsel.datasets import dataset_names
from fmsel.report import doctor, doctor_packages, doctor_system
from fmsel.report.doctor import FILES, Checkup, Problem, examine
from fmsel.report.doctor_packages import Packages, examine_packages, import_all
from fmsel.report.doctor_text import print_checkup


def module(folder: Path, name: str, source: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(source)


def installed(folder: Path, name: str, version: str, *lines: str) -> None:
    """What pip leaves of an installed package."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    text = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines]
    (info / "METADATA").write_text("\n".join(text) + "\n")


def doctor_with(folder: Path) -> tuple[int, str]:
    """(exit code, what is printed) of the real command where packages in `folder` come first."""
    done = subprocess.run(
        [sys.executable, "-m", "fmsel.cli", "doctor"],
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_a_machine_that_works(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # the others take half a minute on a busy machine
    monkeypatch.setattr(doctor_packages, "import_all", lambda _: import_all(["numpy", "torch"]))
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["works"]
    assert found["packages"]["needed"]["torch"] == torch.__version__.partition("+")[0]
    assert found["machine"]["threads"] >= 1
    assert len(found["gpus"]["torch"]) == torch.cuda.device_count()
    assert found["machine"]["precision"] in ("fp32", "bf16")
    assert set(found["datasets"]) == set(dataset_names())
    assert found["storage"]["cache"]["path"] == os.environ["FMSEL_CACHE"]
    assert {"dask", "dp", "onnx", "parquet", "tensorboard", "timm"} <= found["packages"][
        "extras"
    ].keys()


def test_a_torchvision_for_another_torch_and_a_torch_that_crashes(tmp_path: Path) -> None:
    module(tmp_path, "torch", "import os; os.abort()")
    installed(tmp_path, "torch", "2.13.0")
    module(tmp_path, "torchvision", "raise RuntimeError('operator torchvision::nms\\n is missing')")
    installed(tmp_path, "torchvision", "0.20.1", "Requires-Dist: torch==2.5.1")
    code, text = doctor_with(tmp_path)
    assert code == 1
    assert "wrong: torch 2.13.0 is installed, and fmsel needs torch!=2.13.0,>=2.4; pip" in text
    assert "torch 2.13.0 cannot be imported (its import ended Python with code -6)" in text
    assert "(RuntimeError: operator torchvision::nms is missing)" in text
    assert "it needs torch==2.5.1, and torch 2.13.0 is installed" in text
    assert "fmsel does not work until what is wrong is mended" in text
    assert "scikit-learn" in text and "cache" in text  # the rest is still looked at


def test_each_module_is_tried_although_others_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(tmp_path, "noisy", "print('[not ours]')")
    module(tmp_path, "broken", "raise OSError('libcudart.so\\nis missing')")
    module(tmp_path, "exits", "import sys; sys.exit(3)")
    module(tmp_path, "hangs", "import time; time.sleep(60)")
    module(tmp_path, "fine", "")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor_packages, "TIMEOUT", 5.0)
    errors, found = import_all(["noisy", "broken", "exits", "hangs", "fine", "missing"])
    assert errors == {
        "broken": "OSError: libcudart.so is missing",
        "exits": "its import ended Python with code 3",
        "hangs": "importing it took more than 5 s",
        "missing": "ModuleNotFoundError: No module named 'missing'",
    }
    assert found is None


def test_a_folder_called_like_a_library_is_not_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(tmp_path, "packaging", "raise OSError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert import_all(["packaging"]) == ({}, None)


def test_missing_and_old_packages_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["rich>=13", "numpy>=99", "not-there>=1", "timm>=99; extra == 'timm'"]
    lines += ["gone-too; extra == 'more'"]
    real = importlib.metadata.requires
    extras = SimpleNamespace(get_all=lambda _: ["dev", "more", "timm"])
    monkeypatch.setattr(
        importlib.metadata, "requires", lambda name: lines if name == "fmsel" else real(name)
    )
    monkeypatch.setattr(importlib.metadata, "metadata", lambda _: extras)
    monkeypatch.setattr(doctor_packages, "import_all", lambda _: ({"not_there": "gone"}, None))
    found = Packages()
    examine_packages(found)
    assert [text.partition(";")[0] for text in found.broken] == [
        f"numpy {found.needed['numpy']} is installed, and fmsel needs numpy>=99",
        "not-there is not installed",
    ]
    assert found.extras["more"] == {"gone-too": None} and "dev" not in found.extras
    assert [text.split()[0] for text in found.odd] == ["timm"]


def test_every_needed_package_has_the_module_that_is_imported() -> None:
    needed, _ = doctor_packages._requirements()
    assert len(needed) >= 10
    for each in needed:
        assert importlib.util.find_spec(doctor_packages._module(each)), each.name


def test_the_files_of_data_sets_are_torchvisions() -> None:
    assert set(FILES) == set(dataset_names())
    classes = torchvision.datasets
    for name, cls in (
        ("cifar10", classes.CIFAR10),
        ("cifar100", classes.CIFAR100),
        ("stl10", classes.STL10),
    ):
        assert {cls.base_folder, cls.filename} <= set(FILES[name])
    assert FILES["svhn"] == (classes.SVHN.split_list["train"][1],)


def test_data_sets_and_space_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    (cache / "data" / "stl10_binary").mkdir(parents=True)
    (cache / "data" / "stl10_binary" / "train_X.bin").write_bytes(b"0" * 1000)
    monkeypatch.setenv("FMSEL_CACHE", str(cache))
    monkeypatch.setattr(doctor, "examine_packages", lambda _: None)
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != cache)
    usage = SimpleNamespace(free=1e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    checkup = examine()
    assert checkup.facts["datasets"]["stl10"] == str(cache / "data" / "stl10_binary")
    assert checkup.facts["datasets"]["svhn"] == ""
    assert checkup.facts["storage"]["cache"]["size"] == 1000
    texts = "\n".join(problem.text for problem in checkup.problems)
    assert f"the cache {cache} cannot be written to" in texts and "set FMSEL_CACHE" in texts
    assert "only 1.0 GB are free at" in texts
    assert checkup.works


def test_a_gpu_that_torch_does_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {"threads": 1, "gpus": [], "cuda": "12.6", "error": None}

    def fill(found: Packages) -> None:
        found.torch = seen

    gpu = {"name": "H100", "memory": 80 * 2**30, "driver": "470.1"}
    monkeypatch.setattr(doctor, "examine_packages", fill)
    monkeypatch.setattr(doctor, "nvidia_gpus", lambda: [gpu])
    monkeypatch.setattr(doctor, "usable_cores", lambda: 8)
    texts = [problem.text for problem in examine().problems]
    assert any(
        "the driver 470.1 sees a GPU, but torch, which was built for CUDA" in t for t in texts
    )
    assert any("torch uses 1 of 8 cores" in text for text in texts)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not any("sees a GPU" in problem.text for problem in examine().problems)


def test_what_nvidia_smi_prints_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    lines = ("NVIDIA H100 80GB HBM3, 81559, 550.54.15", "A, [N/A], 1")
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    first, second = doctor_system.nvidia_gpus()
    assert (first["name"], first["memory"]) == ("NVIDIA H100 80GB HBM3", 81559 * 2**20)
    assert (first["driver"], second["memory"]) == ("550.54.15", None)
    program.write_text("#!/bin/sh\nexit 9\n")
    assert doctor_system.nvidia_gpus() == []


def test_a_section_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Packages) -> None:
        raise OSError("no metadata")

    monkeypatch.setattr(doctor, "examine_packages", fail)
    checkup = examine()
    assert checkup.facts["packages"] is None and checkup.facts["datasets"]
    assert any("packages: could not be examined (no metadata)" in p.text for p in checkup.problems)
    console = Console(width=80, record=True)
    print_checkup(checkup, console)
    assert "data sets" in console.export_text()


def test_what_is_needed_comes_first_and_decides() -> None:
    checkup = Checkup(problems=[Problem("a note")])
    assert checkup.works
    checkup.problems.append(Problem("broken", needed=True))
    assert not checkup.works and not checkup.as_dict()["works"]


def test_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "CGROUP", limit)
    total = machine.memory()
    for text, expected in (("max\n", total), ("1048576\n", 1048576)):
        limit.write_text(text)
        assert machine.memory() == expected
