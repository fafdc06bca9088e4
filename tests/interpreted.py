"""Triton's interpreter, to be asked for before triton is imported: in a process of its own."""

import json
import os
import subprocess
import sys
from typing import Any


def interpreted(file: str) -> Any:
    """The JSON that `python file` prints with Triton's kernels interpreted."""
    done = subprocess.run(
        [sys.executable, file],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
