"""What the machine has."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/memory.max")  # a container's limit, bytes or "max"


def memory() -> int | None:
    """Bytes of memory, or of the container's share of it; None where the system does not tell."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    limit = CGROUP.read_text().strip() if CGROUP.exists() else "max"
    return min(total, int(limit)) if limit.isdigit() else total
