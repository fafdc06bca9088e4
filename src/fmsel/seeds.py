"""One seed in, one independent random stream out for each named purpose; nothing global."""

import hashlib

import numpy as np


def sequence(seed: int, purpose: str, *path: int) -> np.random.SeedSequence:
    """The seed sequence of one purpose.

    Streams are keyed by name, so a new purpose never shifts the numbers of an old one, and `path`
    (a repetition, a fold, a step) gives each part of a job numbers of its own.

    Args:
        seed: the user's seed, any integer >= 0.
        purpose: a name such as "split" or "init".
        path: further non-negative integers.
    """
    name = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "little")
    return np.random.SeedSequence(seed, spawn_key=(name, *path))


def generator(seed: int, purpose: str, *path: int) -> np.random.Generator:
    """A numpy generator on `sequence(seed, purpose, *path)`."""
    return np.random.default_rng(sequence(seed, purpose, *path))


def torch_seed(seed: int, purpose: str, *path: int) -> int:
    """A 63-bit integer for `torch.Generator.manual_seed`, from the same streams.

    Torch's generator on the CPU heeds its low 32 bits.
    """
    return int(sequence(seed, purpose, *path).generate_state(1, np.uint64)[0] >> np.uint64(1))
