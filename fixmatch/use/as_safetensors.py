"""A run's network as a safetensors file, and the network back from it."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from fmsel.artefacts import atomic_path
from fmsel.errors import ArtefactError
from fmsel.fixmatch.use.exported import agreement, describe, probabilities, random_images
from fmsel.fixmatch.use.weights import Trained
from fmsel.training.networks.build import build_network


def write_safetensors(trained: Trained, path: Path, force: bool = False) -> float:
    """Write parameters and batch norm statistics, by their names in the network.

    Args:
        trained: on the CPU.
        path: the file; it comes to be only if the network read back from it agrees.
        force: replace an existing file.
    Returns:
        The largest difference of a probability on random images, at most `TOLERANCE`.
    Raises:
        OutputError: `path` exists and `force` is false, or it cannot be written.
        ArtefactError: the file disagrees with the run.
    """
    tensors = {name: each.contiguous() for name, each in trained.network.state_dict().items()}
    with atomic_path(path, force) as temporary:
        temporary.write_bytes(save(tensors, describe(trained)))  # save_file makes it private
        network, _ = load_exported(temporary)
        images = random_images(trained)
        return agreement(trained, images, probabilities(network, images), path)


def load_exported(path: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The network in a safetensors file of `fmsel export`, and its class names.

    Returns:
        The network, in evaluation mode on the CPU: (B, 3, S, S) float32 in [-1, 1] -> (B, C)
        logits; `Classifier(network)` takes (B, S, S, 3) uint8 and gives probabilities.
    Raises:
        ArtefactError: no such file, or none that `fmsel export` wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
        names = tuple(json.loads(about["class_names"]))
        network = build_network(
            about["architecture"],
            n_classes=len(names),
            image_side=int(about["image_side"]),
            bn_momentum=float(about["bn_momentum"]),
            seed=0,
        )
        network.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise ArtefactError(
            f"there is no exported network {path}; make it with `fmsel export`"
        ) from None
    except (OSError, SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise ArtefactError(
            f"{path} is no network that `fmsel export` wrote; export it again"
        ) from error
    return network.eval(), names
