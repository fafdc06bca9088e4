"""The outputs of one finished network, and their cache."""

import zipfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import atomic_path, cache_dir
from fmsel.errors import OutputError


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkOutputs:
    """What is kept of one network.

    Attributes:
        heldout: (K, C) float32, softmax on its K held-out images after the last epoch.
        training_mean: (N - K,) float32, probability of the given label of each training image,
            averaged over the epochs, as it was when the network trained on it.
        seconds: wall-clock training time.
    """

    heldout: npt.NDArray[np.float32]
    training_mean: npt.NDArray[np.float32]
    seconds: float


def load_outputs(name: str) -> NetworkOutputs | None:
    """Cached outputs; None where there are none or the file is broken."""
    try:
        with np.load(cache_dir() / "networks" / f"{name}.npz", allow_pickle=False) as file:
            return NetworkOutputs(
                heldout=file["heldout"],
                training_mean=file["training_mean"],
                seconds=float(file["seconds"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def save_outputs(name: str, outputs: NetworkOutputs) -> None:
    """Cache outputs; a cache that cannot be written only costs time later."""
    try:
        path = cache_dir() / "networks" / f"{name}.npz"
        with atomic_path(path, force=True) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                heldout=outputs.heldout,
                training_mean=outputs.training_mean,
                seconds=np.array(outputs.seconds),
            )
    except OutputError:
        return
