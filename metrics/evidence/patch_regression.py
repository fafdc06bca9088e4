"""Leave-one-out predictions of a ridge regression on fixed patch features: no training at all.

For a linear smoother Yhat = H Y, the prediction of image i by the fit without image i is
(Yhat_i - H_ii Y_i) / (1 - H_ii), exactly. One Cholesky factor of the D x D Gram matrix gives all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from fmsel.datasets import ImageDataset
from fmsel.embeddings.patches import PatchConfig, encode, patch_size
from fmsel.errors import DataError
from fmsel.metrics.evidence.gather import Settings
from fmsel.progress import progress_bar
from fmsel.training.engine.device import resolve_device

RIDGE = 0.003  # penalty, as a share of N times the mean variance of a feature
BLOCK = 2_000  # images at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchRegression:
    """Leave-one-out predictions.

    Attributes:
        predictions: (N, C) float32, of one-hot targets; near [0, 1] but not confined to it.
        parameters: JSON-able.
    """

    predictions: npt.NDArray[np.float32]
    parameters: Mapping[str, Any]


def make(data: ImageDataset, settings: Settings) -> PatchRegression:
    """Encode the images and predict each one from all the others.

    Raises:
        DataError: a label is missing, images below 4 pixels, or images that are all alike.
    """
    if not data.labelled:
        raise DataError(
            f"{data.name} has images without a label, and leave-one-out regresses on labels; "
            "score a labelled data set"
        )
    config = PatchConfig()
    width = 8 * config.filters
    megabytes = (len(data) * width * 4 + 4 * width * width * 8) / 1e6
    settings.say(
        f"leave-one-out: {width:,} patch features of {len(data):,} images, "
        f"about {megabytes:,.0f} MB of memory"
    )
    device = resolve_device(settings.device)
    with progress_bar("patch features", len(data)) as advance:
        features = encode(data.images, config, seed=settings.seed, device=device, advance=advance)
    if not features.var(axis=0).any():
        raise DataError(
            f"all images of {data.name} look the same to the patch features, so leave-one-out has "
            "nothing to learn from; check the images"
        )
    predictions = leave_one_out(features, np.eye(data.n_classes)[data.labels], RIDGE)
    accuracy = float((predictions.argmax(axis=1) == data.labels).mean())
    return PatchRegression(
        predictions=predictions.astype(np.float32),
        parameters={
            "filters": config.filters,
            "patch": patch_size(config, data.images.shape[1]),
            "ridge": RIDGE,
            "leave_one_out_accuracy": round(accuracy, 4),
        },
    )


def leave_one_out(
    features: npt.NDArray[np.float32], targets: npt.NDArray[np.float64], ridge: float
) -> npt.NDArray[np.float64]:
    """Predict every target from a ridge regression, with intercept, fitted to all the others.

    The penalty on the squared coefficients is `ridge` times the total centred sum of squares of the
    features divided by D; it stays the same in all N fits, as does the centring inside each fit.

    Args:
        features: (N, D) float32; left as it is.
        targets: (N, C) float64.
        ridge: > 0.
    Returns:
        (N, C) float64.
    """
    count, width = features.shape
    centre = features.mean(axis=0, dtype=np.float64)
    gram, cross = np.zeros((width, width)), np.zeros((width, targets.shape[1]))
    level = targets.mean(axis=0)
    for block in _blocks(count):
        centred = features[block] - centre
        gram += centred.T @ centred
        cross += centred.T @ (targets[block] - level)
    gram[np.diag_indices(width)] += ridge * np.trace(gram) / width
    factor = scipy.linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
    weights = scipy.linalg.cho_solve((factor, True), cross, check_finite=False)
    out = np.empty_like(targets)
    for block in _blocks(count):
        centred = features[block] - centre
        half = scipy.linalg.solve_triangular(factor, centred.T, lower=True, check_finite=False)
        leverage = (1 / count + (half**2).sum(axis=0))[:, None]  # (n, 1), diagonal of the hat
        fitted = level + centred @ weights
        out[block] = (fitted - leverage * targets[block]) / (1 - leverage)
    return out


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, count, BLOCK)]
