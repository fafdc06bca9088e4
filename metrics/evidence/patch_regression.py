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
from fmsel.errors import DataError
from fmsel.metrics.evidence.jobs.plan import Plan
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.patches import Patches

RIDGE = 0.003  # penalty, as a share of N times the mean variance of a feature
BLOCK = 2_000  # images at a time
STEPS = 4.0  # image steps that each image takes, measured on two CPU cores


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchRegression:
    """Leave-one-out predictions.

    Attributes:
        predictions: (N, C) float32, of one-hot targets; near [0, 1] but not confined to it.
        parameters: JSON-able.
    """

    predictions: npt.NDArray[np.float32]
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """One regression.

    Raises:
        DataError: a label is missing.
    """
    if not data.labelled:
        raise DataError(
            f"{data.name} has images without a label, and leave-one-out regresses on labels; "
            "score a labelled data set"
        )
    return Plan(
        what="ridge regression on patch features",
        work={(): STEPS * len(data)},
        needs=("patches",),
    )


def make(
    data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]
) -> PatchRegression:
    """Predict each image's label from all the other images."""
    patches: Patches = made["patches"]
    predictions = leave_one_out(patches.features, np.eye(data.n_classes)[data.labels], RIDGE)
    accuracy = float((predictions.argmax(axis=1) == data.labels).mean())
    return PatchRegression(
        predictions=predictions.astype(np.float32),
        parameters={"ridge": RIDGE, "leave_one_out_accuracy": round(accuracy, 4)},
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
