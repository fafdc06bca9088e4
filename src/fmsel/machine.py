"""What the machine has, and how its memory is used."""

import ctypes
import os
from functools import cache
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/memory.max")  # a container's limit, bytes or "max"
# Parameters of glibc's mallopt, and bytes: freed memory is kept, up to KEPT and in pieces of at
# most PIECE, the largest that glibc takes; of itself it keeps 64 MiB.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT, PIECE = 2**30, 2**25


def memory() -> int | None:
    """Bytes of memory, or of the container's share of it; None where the system does not tell."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    limit = CGROUP.read_text().strip() if CGROUP.exists() else "max"
    return min(total, int(limit)) if limit.isdigit() else total


@cache
def keep_freed_memory() -> None:
    """Let the C library keep what is freed for what is asked for next, where it is glibc.

    A training step on a CPU frees and asks for the same activations again and again. Given back
    to the system each time, every page of them is found and filled with zeros anew. What the user
    has set stays.
    """
    told = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_")
    if any(name in os.environ for name in told):
        return
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, PIECE)
        mallopt(M_TRIM_THRESHOLD, KEPT)
