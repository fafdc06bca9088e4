"""A run whose steps are compiled by torch, for which a C++ compiler takes long."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fmsel.datasets import load_dataset
from fmsel.fixmatch.status import STATUS
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import make_split

WORDS = [
    *("train", "--split", "s.json", "--preset", "smoke", "--arch", "small-conv-4", "--out", "run"),
    *("--device", "cpu", "--precision", "fp32", "--mode"),
]


def command(home: Path, *more: str) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "TORCHINDUCTOR_CACHE_DIR": str(home / "compiled"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # in this process, which starts no others
        "OMP_NUM_THREADS": "1",
    }
    code = f"import sys; from fmsel.cli.app import main; sys.exit(main({[*WORDS, *more]!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=home, env=environment, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler for torch.compile"
)
def test_a_signal_while_torch_compiles_saves_a_run_that_resumes(tmp_path: Path) -> None:
    make_split(load_dataset("digits"), RandomStratified(), batch_size=40).save(tmp_path / "s.json")
    process = command(tmp_path, "compile")
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("compiled/**/*.cpp")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130, errors
    assert "the run is saved at step 1 of 20 in run; give the same command with --resume" in errors
    assert json.loads((tmp_path / "run" / STATUS).read_text())["state"] == "stopped"
    again = command(tmp_path, "eager", "--resume")  # compiling once more would show no more
    _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 20
