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
        heldout_mean: (K, C) float32, softmax on its K held-out images, averaged over the epochs.
        heldout_last: (K, C) float32, the same after the last epoch.
        training_mean: (N - K,) float32, probability of the given label of each training image,
            averaged over the epochs, as it was when the network trained on it.
        seconds: wall-clock training time.
    """

    heldout_mean: npt.NDArray[np.float32]
    heldout_last: npt.NDArray[np.float32]
    training_mean: npt.NDArray[np.float32]
    seconds: float


def load_outputs(name: str) -> NetworkOutputs | None:
    """Cached outputs; None where there are none or the file is broken."""
    try:
        with np.load(cache_dir() / "networks" / f"{name}.npz", allow_pickle=False) as file:
            return NetworkOutputs(
                heldout_mean=file["heldout_mean"],
                heldout_last=file["heldout_last"],
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
                heldout_mean=outputs.heldout_mean,
                heldout_last=outputs.heldout_last,
                training_mean=outputs.training_mean,
                seconds=np.array(outputs.seconds),
            )
    except OutputError:
        return
