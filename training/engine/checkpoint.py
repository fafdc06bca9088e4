"""Checkpoints: tensors and a JSON-able state in one file, written atomically, read safely."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fmsel.artefacts import atomic_path
from fmsel.errors import ArtefactError


def save_checkpoint(path: Path, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replace `path` by a new checkpoint; a crash on the way leaves the old one whole.

    Args:
        path: the file.
        tensors: nested dicts and lists of tensors and numbers, such as state dicts.
        state: anything JSON can hold.
    """
    with atomic_path(path, force=True) as temporary:
        torch.save({"tensors": dict(tensors), "state": json.dumps(dict(state))}, temporary)


def load_checkpoint(
    path: Path, device: torch.device | str = "cpu"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors on `device`, state) of a checkpoint; runs no code from the file.

    Raises:
        ArtefactError: missing or broken.
    """
    try:
        values = torch.load(path, map_location=device, weights_only=True)
        return values["tensors"], json.loads(values["state"])
    except FileNotFoundError:
        raise ArtefactError(f"there is no checkpoint {path}; train without --resume") from None
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        raise _broken(path) from error
    except pickle.UnpicklingError as error:
        raise _broken(path) from error


def _broken(path: Path) -> ArtefactError:
    return ArtefactError(f"the checkpoint {path} is broken; train again with --force")
