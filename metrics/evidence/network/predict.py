"""Predictions of a finished network."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fmsel.datasets import ImageDataset
from fmsel.metrics.evidence.network.train import forward
from fmsel.training.augment.weak import to_float
from fmsel.training.engine.device import Precision

EVAL_BATCH = 500
COST = 1 / 3  # of a forward pass, in image steps (a step goes forward and back)


@torch.inference_mode()
def predict(
    model: nn.Module,
    data: ImageDataset,
    indices: npt.NDArray[np.int64],
    *,
    device: torch.device,
    precision: Precision,
    advance: Callable[[float], None],
) -> npt.NDArray[np.float32]:
    """Softmax of each image, averaged over its mirror image where the weak augmentation flips.

    Args:
        model: on `device`; it is put in evaluation mode.
        indices: (K,) global.
        advance: told the image steps done, `predict_work(data, K)` in all.
    Returns:
        (K, C) float32.
    """
    model.eval()
    rows = []
    for batch in np.split(indices, range(EVAL_BATCH, len(indices), EVAL_BATCH)):
        pixels = torch.tensor(data.images[batch], device=device).permute(0, 3, 1, 2)
        total = forward(model, to_float(pixels), precision).softmax(dim=1)
        if data.weak.flip:
            total += forward(model, to_float(pixels.flip(3)), precision).softmax(dim=1)
            total /= 2
        rows.append(total.cpu().numpy())
        advance(predict_work(data, len(batch)))
    return np.concatenate(rows)


def predict_work(data: ImageDataset, count: int) -> float:
    """Image steps of predicting `count` images."""
    return count * (1 + data.weak.flip) * COST
