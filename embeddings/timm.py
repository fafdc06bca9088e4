"""`timm:NAME`: features of a pretrained backbone of timm, such as `timm:resnet50`.

The whole image is resized to the model's own input size (timm's evaluation crops its middle, which
small images cannot spare), with the model's own interpolation, mean and deviation. No label of the
data set is read, but most of these models were trained on the labels of ImageNet.
"""

import pickle
from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from fmsel.artefacts import sha256_file
from fmsel.datasets import ImageDataset
from fmsel.embeddings.vectors.plan import Advance, Plan, Request
from fmsel.errors import ArtefactError, DataError, OptionError
from fmsel.training.engine.device import Precision, autocast

BATCH = {"cpu": 32, "cuda": 256}  # images at a time
INTERPOLATION = {"bilinear": "bilinear"}  # of torch; all others are computed as bicubic


def plan(data: ImageDataset, request: Request) -> Plan:
    """Load the model called `request.argument`.

    Raises:
        OptionError: timm is not installed, or has no such model.
        DataError: no weights were given and none can be downloaded.
        ArtefactError: `request.weights` is unreadable or belongs to another model.
    """
    timm = _timm()
    _check_name(timm, request.argument)
    model = _model(timm, request).eval()
    settings = timm.data.resolve_model_data_config(model)
    with torch.inference_mode():
        width = model(torch.zeros(1, *settings["input_size"])).shape[1]
    return Plan(
        width=width,
        run=partial(_run, data.images, model, settings, request.device),
        total=len(data),
        note=f" of {settings['input_size'][1]} x {settings['input_size'][2]} pixels",
        parameters={
            "timm": timm.__version__,
            **_weights_record(model, request.weights),
            **{key: settings[key] for key in ("input_size", "interpolation", "mean", "std")},
        },
    )


def prepare(images: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """What a model reads: resized as Pillow does, and normalised.

    Pillow filters along x and then along y, and rounds and clips after each.

    Args:
        images: (B, 3, H, W) uint8.
        settings: of `timm.data.resolve_model_data_config`.
    Returns:
        `(B, 3, *input_size[1:])` float32; where halves are rounded, values may be a grey level
        (very rarely two) away from Pillow's: 5 % of them in the worst case seen.
    """
    tall, wide = settings["input_size"][1:]
    mode = INTERPOLATION.get(settings["interpolation"], "bicubic")
    pixels = images.float()
    for size in ((images.shape[2], wide), (tall, wide)):
        pixels = F.interpolate(pixels, size, mode=mode, antialias=True, align_corners=False)
        pixels = pixels.add_(0.5).floor_().clamp_(0, 255)
    mean, deviation = (
        torch.tensor(settings[key], device=images.device)[:, None, None] for key in ("mean", "std")
    )
    return (pixels / 255 - mean) / deviation


@torch.inference_mode()
def _run(
    images: npt.NDArray[np.uint8],
    model: nn.Module,
    settings: Mapping[str, Any],
    device: torch.device,
    advance: Advance,
) -> npt.NDArray[np.float32]:
    """(N, D) features; convolutions in bf16 on a GPU."""
    precision: Precision = "bf16" if device.type == "cuda" else "fp32"
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = BATCH.get(device.type, 32)
    rows = []
    for start in range(0, len(images), batch):
        chunk = torch.tensor(images[start : start + batch], device=device).permute(0, 3, 1, 2)
        pixels = prepare(chunk, settings).contiguous(memory_format=torch.channels_last)
        with autocast(device, precision):
            features = model(pixels)
        rows.append(features.float().cpu().numpy())
        advance(len(chunk))
    return np.concatenate(rows)


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise OptionError(
            "--encoder timm:NAME needs timm; install it with `pip install 'fmsel[timm]'`"
        ) from None
    return timm


def _check_name(timm: ModuleType, name: str) -> None:
    known = [*timm.list_models(), *timm.list_pretrained()]
    if name not in known:
        close = get_close_matches(name, known, n=3)
        advice = f"did you mean {' or '.join(close)}?" if close else "see timm.list_pretrained()"
        raise OptionError(f"timm {timm.__version__} has no model {name!r}; {advice}")


def _model(timm: ModuleType, request: Request) -> nn.Module:
    """The model without its classifier, with weights, on the CPU."""
    name = request.argument
    if request.weights is not None:
        state = _read_weights(request.weights)
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
        _load(model, state, name, request.weights)
        return model
    if request.offline:
        raise DataError(f"--offline downloads no weights of {name}; give a file of them: --weights")
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # whatever the hub, the network or the disk raises
        raise DataError(
            f"the weights of {name} cannot be downloaded ({_first_line(error)}); "
            "give a file of them as --weights"
        ) from error
    return model


def _read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from safetensors, or from torch's format without any other pickle."""
    from timm.models import load_state_dict

    try:
        state: dict[str, Tensor] = load_state_dict(str(path), weights_only=True)
        if not all(isinstance(each, Tensor) for each in state.values()):
            raise TypeError("it does not hold tensors by name")
    except FileNotFoundError:
        raise ArtefactError(f"there is no file {path} to read weights from") from None
    except (
        AttributeError, EOFError, OSError, RuntimeError, SafetensorError, TypeError, ValueError,
        pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise ArtefactError(
            f"{path} cannot be read as weights ({_first_line(error)}); give .safetensors, or a "
            "state dict saved by torch.save"
        ) from error
    return state


def _load(model: nn.Module, state: Mapping[str, Tensor], name: str, path: Path) -> None:
    """Every weight but the classifier's must be there and fit."""
    classifier = model.pretrained_cfg["classifier"]  # type: ignore[index]
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier or ())
    kept = {k: v for k, v in state.items() if not k.startswith(tuple(f"{h}." for h in heads))}
    try:
        model.load_state_dict(kept)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArtefactError(
            f"{path} does not hold the weights of {name} ({reason[:200]}); "
            "give the model that they belong to as timm:NAME"
        ) from error


def _weights_record(model: nn.Module, path: Path | None) -> dict[str, str]:
    if path is not None:
        return {"weights": path.name, "weights_sha256": sha256_file(path)}
    told: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    return {"weights": f"{told['architecture']}.{told['tag']}"}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
