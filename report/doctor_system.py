"""What the machine is, read without torch."""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

QUERY = "name,memory.total,driver_version"
MEBIBYTE = 2**20


def cpu_model() -> str:
    """Such as "AMD EPYC"; the architecture where the system does not tell."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def usable_cores() -> int:
    """Logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def nvidia_gpus() -> list[dict[str, Any]]:
    """GPUs that NVIDIA's driver sees: name, memory in bytes, driver; none without the driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in done.stdout.splitlines():
        name, megabytes, driver = (cell.strip() for cell in line.split(","))
        size = int(megabytes) * MEBIBYTE if megabytes.isdigit() else None
        found.append({"name": name, "memory": size, "driver": driver})
    return found
