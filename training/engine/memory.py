"""Running out of memory, said in one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fmsel.errors import DeviceError

# As torch says it of a GPU ("Tried to allocate 20.00 MiB") and of the CPU ("you tried to allocate
# 4096 bytes"), and numpy ("Unable to allocate 1.5 GiB").
ASKED = re.compile(r"(?:tried|unable) to allocate ([\d.]+) (bytes|[KMGT]iB)", re.IGNORECASE)
UNITS = {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Turn what torch and numpy raise for want of memory into a `DeviceError`.

    Args:
        remedy: what to do about it, the end of the sentence.
    Raises:
        DeviceError: there was no memory; it names the bytes asked for.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        found = ASKED.search(str(error))
        if found is None:
            raise
        size = round(float(found[1]) * UNITS[found[2].lower()])
        raise DeviceError(f"out of memory: {size:,} bytes more were needed; {remedy}") from error
