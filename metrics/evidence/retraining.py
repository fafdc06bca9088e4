"""Predictions of each network of the cross-fitted ensemble before and after it trains on.

A network that was trained on one half of the images goes on with the other half, and predicts the
half that it began with twice: before and after. As the halves of a repetition swap, every image is
scored once a repetition, and no image of a test part is touched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, log
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fmsel.datasets import ImageDataset
from fmsel.metrics.evidence import crossfit
from fmsel.metrics.evidence.crossfit import Crossfit
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, job_names, run_jobs
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.network.predict import EVAL_BATCH, predict_work
from fmsel.metrics.evidence.network.recipe import Recipe, recipe_for
from fmsel.metrics.evidence.network.train import forward, new_network, train_network
from fmsel.metrics.evidence.network.weights import load_weights
from fmsel.seeds import torch_seed
from fmsel.training.augment.weak import to_float
from fmsel.training.engine.device import Precision, device_name

EPOCHS = 1 / 3  # of the network's own: enough to learn the other half
RATE = 1 / 2  # of its peak rate: the network leaves its optimum, and does not start afresh
VERSION = 1  # raise it when this file computes something else: cached outputs no longer count


@dataclass(frozen=True, kw_only=True, eq=False)
class Retraining:
    """Predictions on the images that a network was first trained on.

    Attributes:
        before: (R, N, C) float32, log-probabilities by the network of repetition r that trained on
            image i.
        after: (R, N, C) float32, the same after it trained on with the images it had held out.
        parameters: JSON-able.
    """

    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """Every network of the ensemble trains on.

    Raises:
        DataError: a label is missing, or a class has fewer images than there are folds.
    """
    networks = crossfit.plan(data, settings)
    device, _ = settings.place()
    epochs = _further(recipe_for(data, device)).epochs
    half = len(data) // crossfit.FOLDS
    return Plan(
        what=f"{len(networks.work)} networks train on ({epochs} epochs on the {half:,} images "
        "that each held out)",
        work=dict.fromkeys(networks.work, half * epochs + 2 * predict_work(data, half)),
        names=job_names(
            list(networks.work),
            data,
            settings,
            kind="retraining",
            version=VERSION,
            epochs=EPOCHS,
            rate=RATE,
            networks=list(networks.names.values()),
        ),
        needs=("crossfit",),
    )


def make(data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]) -> Retraining:
    """Train on (or load) every network and collect its predictions."""
    device, precision = settings.place()
    networks = made["crossfit"].networks

    def train_on(job: Job, advance: Advance) -> Arrays:
        network = networks[job]
        began_with = np.flatnonzero(~network.held_out)
        model = new_network(data, network.recipe, 0, device)
        load_weights(model, network.weights)
        before = log_predict(model, data, began_with, precision, advance)
        model = train_network(
            data,
            train_on=np.flatnonzero(network.held_out),
            recipe=_further(network.recipe),
            seed=torch_seed(settings.seed, "retraining", *job),
            device=device,
            precision=precision,
            advance=advance,
            start=network.weights,
        )
        return {"before": before, "after": log_predict(model, data, began_with, precision, advance)}

    finished = run_jobs("retraining", plan, train_on, settings)
    before, after = (_assemble(made["crossfit"], finished.arrays, k) for k in ("before", "after"))
    further = _further(networks[0, 0].recipe)
    return Retraining(
        before=before,
        after=after,
        parameters={
            "epochs": further.epochs,
            "peak_lr": further.peak_lr,
            "networks": len(finished.arrays),
            "networks_from_cache": finished.from_cache,
            "accuracy_before": _accuracy(before, data),
            "accuracy_after": _accuracy(after, data),
            "device": device_name(device),
            "precision": precision,
            "compute_seconds": finished.seconds,
        },
    )


@torch.inference_mode()
def log_predict(
    model: nn.Module,
    data: ImageDataset,
    indices: npt.NDArray[np.int64],
    precision: Precision,
    advance: Advance,
) -> npt.NDArray[np.float32]:
    """The logarithm of `predict`, finite also where a probability is too small for a float.

    Args:
        model: it is put in evaluation mode.
        indices: (K,) global.
        advance: told the image steps done, `predict_work(data, K)` in all.
    Returns:
        (K, C) float32.
    """
    model.eval()
    device = next(model.parameters()).device
    rows = []
    for batch in np.split(indices, range(EVAL_BATCH, len(indices), EVAL_BATCH)):
        pixels = torch.tensor(data.images[batch], device=device).permute(0, 3, 1, 2)
        logs = forward(model, to_float(pixels), precision).log_softmax(dim=1)
        if data.weak.flip:
            mirrored = forward(model, to_float(pixels.flip(3)), precision).log_softmax(dim=1)
            logs = torch.logaddexp(logs, mirrored) - log(2)
        rows.append(logs.cpu().numpy())
        advance(predict_work(data, len(batch)))
    return np.concatenate(rows)


def _further(recipe: Recipe) -> Recipe:
    return replace(
        recipe, epochs=ceil(recipe.epochs * EPOCHS), peak_lr=round(recipe.peak_lr * RATE, 6)
    )


def _assemble(
    ensemble: Crossfit, arrays: Mapping[Job, Arrays], key: str
) -> npt.NDArray[np.float32]:
    out = np.empty_like(ensemble.heldout)
    for (r, f), outputs in arrays.items():
        out[r, ~ensemble.networks[r, f].held_out] = outputs[key]
    return out


def _accuracy(logs: npt.NDArray[np.float32], data: ImageDataset) -> float:
    return round(float((logs.argmax(axis=2) == data.labels).mean()), 4)
