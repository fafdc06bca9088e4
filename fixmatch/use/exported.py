"""What every exported file says of its network, and the check that it passes to be put in place."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import fmsel
from fmsel.errors import ArtefactError
from fmsel.fixmatch.use.weights import Classifier, Trained
from fmsel.seeds import generator

SCHEMA = "1"  # of the metadata
CHECKED = 8  # random images on which a file is compared with its run
TOLERANCE = 1e-4  # largest difference of a probability


def describe(trained: Trained) -> dict[str, str]:
    """The metadata of an exported file; all values are text, as both formats want it."""
    return {
        "schema_version": SCHEMA,
        "architecture": trained.config.arch,
        "class_names": json.dumps(trained.class_names),
        "image_side": str(trained.image_side),
        "normalisation": "x * 2 / 255 - 1",
        "bn_momentum": str(trained.config.bn_momentum),
        "step": str(trained.step),
        "run_config_sha256": trained.config_sha256,
        "fmsel_version": fmsel.__version__,
    }


def random_images(trained: Trained) -> npt.NDArray[np.uint8]:
    """(`CHECKED`, S, S, 3) uniform pixels, always the same."""
    shape = (CHECKED, trained.image_side, trained.image_side, 3)
    return generator(0, "export check").integers(0, 256, shape, dtype=np.uint8)


@torch.inference_mode()
def probabilities(network: nn.Module, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(N, S, S, 3) -> (N, C), on the CPU in float32."""
    found: npt.NDArray[np.float32] = Classifier(network)(torch.tensor(images)).numpy()
    return found


def agreement(
    trained: Trained,
    images: npt.NDArray[np.uint8],
    theirs: npt.NDArray[np.float32],
    path: Path,
) -> float:
    """The largest difference between a file's probabilities, (N, C), and the run's.

    Raises:
        ArtefactError: it is above `TOLERANCE`, or not a number.
    """
    difference = float(np.abs(probabilities(trained.network, images) - theirs).max())
    if not difference <= TOLERANCE:  # also where it is nan
        raise ArtefactError(
            f"{path} was not written, for its probabilities on random images differ from those of "
            f"{trained.run} by {difference:.2g}, and {TOLERANCE:g} is allowed; export the other "
            "format, or with other versions of torch and onnxruntime"
        )
    return difference
