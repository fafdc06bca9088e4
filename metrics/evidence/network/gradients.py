"""The norm of each image's own loss gradient, over all the parameters of a network.

No image's whole gradient is ever built: what an image adds to the gradient of a convolution or a
linear layer is a product of the layer's input and the gradient of its output, so that its norm
follows from those two (Goodfellow 2015, arXiv 1510.01799; Rochette, Manoel and Tramel 2019, arXiv
1912.06015; Bu, Mao and Xu 2022, arXiv 2205.10683, for the choice between the two forms).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from fmsel.datasets import ImageDataset
from fmsel.training.augment.weak import to_float
from fmsel.training.engine.device import Precision, autocast

BATCH = 125  # images; the patches of one layer of resnet9-64 then take 300 MB
COST = 1.1  # of an image, in image steps, measured on a CPU core
VERSION = 1  # raise it when the norms change: cached outputs no longer count


class Norms(NamedTuple):
    """Two norms of K images' errors.

    Attributes:
        error: (K,) float32 in [0, sqrt 2], of the softmax minus the one-hot label.
        gradient: (K,) float32, >= 0, of the cross-entropy's gradient over all parameters.
    """

    error: npt.NDArray[np.float32]
    gradient: npt.NDArray[np.float32]


def error_norms(
    model: nn.Module,
    data: ImageDataset,
    *,
    device: torch.device,
    precision: Precision,
    advance: Callable[[float], None],
) -> Norms:
    """Both norms of every image of `data`, not augmented, by its given label.

    The network is in evaluation mode: batch norm uses its running statistics, since a batch's own
    would mix the images' gradients.

    Args:
        model: on `device`, built of layers that `image_gradient_norms` knows; it is put in
            evaluation mode.
        data: every image labelled.
        device, precision: where, and the precision of convolutions.
        advance: told the image steps done, `COST` an image.
    """
    model.eval()
    labels = torch.tensor(data.labels, device=device)
    errors, gradients = [], []
    for batch in torch.split(torch.arange(len(data), device=device), BATCH):
        pixels = torch.tensor(data.images[batch.cpu().numpy()], device=device).permute(0, 3, 1, 2)
        views = to_float(pixels).contiguous(memory_format=torch.channels_last)
        logits, norms = image_gradient_norms(model, views, labels[batch], precision)
        error = logits.softmax(dim=1) - F.one_hot(labels[batch], data.n_classes)
        errors.append(error.norm(dim=1).cpu().numpy())
        gradients.append(norms.cpu().numpy())
        advance(COST * len(batch))
    return Norms(np.concatenate(errors), np.concatenate(gradients))


def image_gradient_norms(
    model: nn.Module, views: Tensor, labels: Tensor, precision: Precision = "fp32"
) -> tuple[Tensor, Tensor]:
    """Logits, and the norm of each image's cross-entropy gradient over all parameters.

    Args:
        model: in evaluation mode; its parameters belong to layers of `SQUARES`, each used once;
            convolutions without groups or dilation.
        views: (B, 3, H, W) float.
        labels: (B,) int64.
    Returns:
        (B, C) and (B,), detached, in the dtype of the logits.
    Raises:
        KeyError: parameters in a layer of another type.
    """
    taps: list[tuple[nn.Module, Tensor, GradientEdge]] = []

    def tap(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        # The edge means the output as it is now, also where an activation overwrites it.
        taps.append((layer, inputs[0].detach(), get_gradient_edge(output)))

    layers = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
    handles = [layer.register_forward_hook(tap) for layer in layers]
    try:
        with autocast(views.device, precision):
            logits: Tensor = model(views)
    finally:
        for handle in handles:
            handle.remove()
    loss = F.cross_entropy(logits, labels, reduction="sum")
    gradients = torch.autograd.grad(loss, [edge for _, _, edge in taps])
    squares = [
        SQUARES[type(layer)](layer, given, gradient)
        for (layer, given, _), gradient in zip(taps, gradients, strict=True)
    ]
    return logits.detach(), torch.stack(squares).sum(dim=0).sqrt()


def _linear(layer: nn.Linear, given: Tensor, gradient: Tensor) -> Tensor:
    """The weight's gradient is the outer product of the two, the bias's is the second."""
    return _square(gradient) * (_square(given) + (layer.bias is not None))


def _conv(layer: nn.Conv2d, given: Tensor, gradient: Tensor) -> Tensor:
    """The weight's gradient is a sum over positions of outer products: patch x output gradient."""
    patches = _patches(layer, given.to(gradient.dtype))  # (B, L, I)
    outputs = gradient.flatten(2)  # (B, O, L)
    (_, places, wide), high = patches.shape, outputs.shape[1]
    if places * (wide + high) < wide * high:
        # |G P|^2 = <P P^T, G^T G>, which is smaller where a layer has few positions.
        pairs = _wide(patches @ patches.mT) * _wide(outputs.mT @ outputs)
        square = pairs.sum(dim=(1, 2))
    else:
        square = _square(outputs @ patches)
    return square if layer.bias is None else square + _square(outputs.sum(dim=2))


def _patches(layer: nn.Conv2d, given: Tensor) -> Tensor:
    """(B, I, H, W) -> (B, L, k k I); on channels-last memory some times as quick as F.unfold."""
    assert isinstance(layer.padding, tuple)
    (rows, columns), (down, right), (top, left) = layer.kernel_size, layer.stride, layer.padding
    padded = F.pad(given, (left, left, top, top))
    windows = padded.unfold(2, rows, down).unfold(3, columns, right)
    return windows.permute(0, 2, 3, 4, 5, 1).flatten(1, 2).flatten(2)


def _norm(layer: nn.BatchNorm2d, given: Tensor, gradient: Tensor) -> Tensor:
    """Scale and shift of an input that is normalised by constants."""
    assert layer.running_mean is not None and layer.running_var is not None
    centred = given - layer.running_mean[:, None, None]
    scaled = centred / (layer.running_var + layer.eps).sqrt()[:, None, None]
    return _square((scaled * gradient).sum(dim=(2, 3))) + _square(gradient.sum(dim=(2, 3)))


def _square(rows: Tensor) -> Tensor:
    """The squared norm of each row."""
    wide = torch.promote_types(rows.dtype, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(rows.flatten(1), dim=1, dtype=wide)
    return norm.square()


def _wide(values: Tensor) -> Tensor:
    """In float32 at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


SQUARES: dict[type[nn.Module], Callable[[Any, Tensor, Tensor], Tensor]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _norm,
}
