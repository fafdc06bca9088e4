"""A lock that another process holds until it is killed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CODE = """
import fcntl, os, signal, sys
file = open(sys.argv[1], "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
os.read(0, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


@contextmanager
def held_elsewhere(path: Path) -> Iterator[None]:
    """Meanwhile another process holds the file `path`; then it dies, as a killed one does."""
    words = [sys.executable, "-c", CODE, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        yield
        other.communicate(b"x")
    assert other.returncode == -signal.SIGKILL
