"""How the command `fmsel` lets the threads of a CPU wait for one another."""

import os
import subprocess
import sys

import pytest

CODE = (
    "import sys; sys.argv = ['fmsel', '--version']\n"
    "from fmsel.cli.app import command\n"
    "try: command()\n"
    "except SystemExit: import torch"
)


@pytest.mark.skipif(sys.platform != "linux", reason="another OpenMP than GNU's")
@pytest.mark.parametrize(
    ("settings", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")],
)
def test_openmp_is_told_to_wait_briefly(settings: dict[str, str], spins: str) -> None:
    """By what the library of torch says itself when it is loaded."""
    kept = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        env={**kept, **settings, "OMP_DISPLAY_ENV": "verbose"},
    )
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
