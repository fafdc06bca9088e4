"""Checkpoints: tensors and a JSON-able state in one safetensors file, durable and verified."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fmsel.artefacts import atomic_path, sha256_array
from fmsel.errors import ArtefactError


def save_checkpoint(path: Path, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replace `path` by a new checkpoint; a crash on the way leaves the old one whole.

    A tensor is called by the keys that lead to it, such as "learner/model/stem.weight". The
    metadata holds `tree` (how the tensors nest), `state` and the `sha256` of all three.

    Args:
        path: the file.
        tensors: nested dicts and lists of tensors, numbers, strings and None, such as state dicts;
            keys are strings or integers.
        state: anything JSON can hold.
    """
    flat: dict[str, Tensor] = {}
    header = {"tree": json.dumps(_take_apart(tensors, "", flat)), "state": json.dumps(dict(state))}
    header["sha256"] = _digest(flat, header)
    with atomic_path(path, force=True) as temporary:
        # Not save_file, whose file is private and whose errors are no OSError.
        temporary.write_bytes(save(flat, header))


def load_checkpoint(
    path: Path, device: torch.device | str = "cpu"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors on `device`, state) of a checkpoint; runs no code from the file.

    Raises:
        ArtefactError: missing or broken.
    """
    try:
        data = path.read_bytes()
        flat = load(data)
        end = 8 + int.from_bytes(data[:8], "little")  # the header's length comes first
        header = json.loads(data[8:end])["__metadata__"]
        if header["sha256"] != _digest(flat, header):
            raise ValueError("another sha256")
        return _put_together(json.loads(header["tree"]), flat, device), json.loads(header["state"])
    except FileNotFoundError:
        raise ArtefactError(f"there is no checkpoint {path}; train without --resume") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _broken(path) from error


def _broken(path: Path) -> ArtefactError:
    return ArtefactError(f"the checkpoint {path} is broken; train again with --force")


def _take_apart(value: Any, name: str, flat: dict[str, Tensor]) -> Any:
    """What JSON can hold of `value`; its tensors are copied into `flat`."""
    if isinstance(value, Tensor):
        flat[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        # Strides as a dense copy has them: channels_last momentum must come back as it was.
        return {"tensor": name, "stride": torch.empty_like(value, device="meta").stride()}
    if isinstance(value, Mapping):
        inside = f"{name}/" if name else ""
        # Pairs, for the keys of optimiser states are integers.
        return {"dict": [[k, _take_apart(v, f"{inside}{k}", flat)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return [_take_apart(v, f"{name}/{k}", flat) for k, v in enumerate(value)]
    return value


def _put_together(node: Any, flat: Mapping[str, Tensor], device: torch.device | str) -> Any:
    """The inverse of `_take_apart`, but for tuples, which come back as lists."""
    if isinstance(node, list):
        return [_put_together(each, flat, device) for each in node]
    if not isinstance(node, dict):
        return node
    if "dict" in node:
        return {key: _put_together(each, flat, device) for key, each in node["dict"]}
    stored = flat[node["tensor"]]
    made = torch.empty_strided(stored.shape, node["stride"], dtype=stored.dtype, device=device)
    return made.copy_(stored)


def _digest(flat: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    digest = hashlib.sha256(f"{header['tree']}\n{header['state']}".encode())
    for name, tensor in sorted(flat.items()):
        content = sha256_array(tensor.flatten().view(torch.uint8).numpy())
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {content}".encode())
    return digest.hexdigest()
