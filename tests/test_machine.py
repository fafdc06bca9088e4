"""Freed memory is kept for what is asked for next, unless the user has told the C library."""

import os
import platform
import subprocess
import sys

import pytest

# Ten times eight pieces of 16 MiB, as activations come and go: bytes of pages that were made anew.
CODE = """
import ctypes, resource, torch
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages, which are made whole
from fmsel.training.engine.device import resolve_device
resolve_device("cpu")
for k in range(11):
    if k == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [torch.empty(2**22).fill_(1) for _ in range(8)]
    del pieces
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize())
"""
ONCE = 8 * 2**24  # bytes


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, True),
        ({"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=0"}, False),
        ({"MALLOC_TRIM_THRESHOLD_": "0"}, False),
    ],
)
def test_memory_is_kept_unless_the_user_says_how(settings: dict[str, str], kept: bool) -> None:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        env={**plain, **settings},
    )
    assert (int(done.stdout) < 5 * ONCE) == kept
