"""Predictions of a cross-fitted ensemble: every image is predicted by networks that never saw it.

In each repetition the images are cut into stratified folds, and one network is trained without
each fold; then it predicts its held-out fold, averaging over mirror images where the data set's
weak augmentation flips. The repetitions differ in seed and in capacity (channels). The weights are
kept, so that other evidence can attack the networks or train them on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fmsel.datasets import ImageDataset
from fmsel.errors import DataError
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, Finished, job_names, run_jobs
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.network.folds import stratified_folds
from fmsel.metrics.evidence.network.predict import predict, predict_work
from fmsel.metrics.evidence.network.recipe import Recipe, recipe_for
from fmsel.metrics.evidence.network.train import train_network
from fmsel.metrics.evidence.network.weights import TrainedNetwork, weights_of
from fmsel.seeds import generator, torch_seed
from fmsel.training.engine.device import device_name

CAPACITIES = (0.75, 1.0, 1.25)  # one repetition each; `agr` needs three such networks
FOLDS = 2
TRAINER = 3  # raise it when the network or its training changes: cached outputs no longer count
WEIGHT = "weight "  # before a parameter's name among a job's arrays


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossfit:
    """Predictions by networks that held the image out, and by those that trained on it.

    Attributes:
        heldout: (R, N, C) float32, softmax after the last epoch of the network of repetition r
            that held image i out.
        training_mean: (R, N) float32 in [0, 1], probability of the given label while training on
            the (augmented) image, averaged over epochs and over the networks that trained on it.
        networks: (repetition, fold) -> the network that held that fold out.
        parameters: recipe, device and held-out accuracy, JSON-able.
    """

    heldout: npt.NDArray[np.float32]
    training_mean: npt.NDArray[np.float32]
    networks: Mapping[Job, TrainedNetwork]
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """Six networks.

    Raises:
        DataError: a label is missing, or a class has fewer images than there are folds.
    """
    _check(data)
    recipes = _recipes(data, settings)
    jobs = [(r, f) for r in range(len(recipes)) for f in range(FOLDS)]
    names = job_names(
        jobs,
        data,
        settings,
        kind="crossfit",
        trainer=TRAINER,
        folds=FOLDS,
        recipes=[recipe.as_dict() for recipe in recipes],
    )
    held_out = len(data) // FOLDS
    trained = len(data) - held_out
    work = trained * recipes[0].epochs + predict_work(data, held_out)
    return Plan(
        what=f"{len(jobs)} networks ({', '.join(r.arch for r in recipes)}; {recipes[0].epochs} "
        f"epochs on {trained:,} images each), {FOLDS}-fold cross-fitting",
        work=dict.fromkeys(jobs, work),
        names=names,
    )


def make(data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]) -> Crossfit:
    """Train (or load) the ensemble on `data` and collect its predictions."""
    device, precision = settings.place()
    recipes = _recipes(data, settings)
    folds = [
        stratified_folds(data.labels, FOLDS, generator(settings.seed, "crossfit folds", r))
        for r in range(len(recipes))
    ]

    def train(job: Job, advance: Advance) -> Arrays:
        r, f = job
        training = torch.zeros(len(data), device=device)
        labels = torch.tensor(data.labels, device=device)

        def observe(indices: Tensor, logits: Tensor) -> None:
            own = logits.softmax(dim=1).gather(1, labels[indices][:, None])[:, 0]
            training[indices] += own / recipes[r].epochs

        model = train_network(
            data,
            train_on=np.flatnonzero(folds[r] != f),
            recipe=recipes[r],
            seed=torch_seed(settings.seed, "crossfit network", r, f),
            device=device,
            precision=precision,
            advance=advance,
            observe=observe,
        )
        held_out = np.flatnonzero(folds[r] == f)
        heldout = predict(
            model, data, held_out, device=device, precision=precision, advance=advance
        )
        outputs = {"heldout": heldout, "training_mean": training.cpu().numpy()}
        return outputs | {WEIGHT + k: v for k, v in weights_of(model).items()}

    finished = run_jobs("crossfit", plan, train, settings)
    parameters = {
        **recipes[0].as_dict(),
        "arch": [recipe.arch for recipe in recipes],
        "repetitions": len(recipes),
        "folds": FOLDS,
        "networks": len(finished.arrays),
        "networks_from_cache": finished.from_cache,
        "device": device_name(device),
        "precision": precision,
        "compute_seconds": finished.seconds,
    }
    return _assemble(data, folds, recipes, finished, parameters)


def _recipes(data: ImageDataset, settings: Settings) -> list[Recipe]:
    device, _ = settings.place()
    return [recipe_for(data, device, capacity) for capacity in CAPACITIES]


def _check(data: ImageDataset) -> None:
    if not data.labelled:
        raise DataError(
            f"{data.name} has images without a label, and a cross-fitted ensemble trains on "
            "labels; score it without labels (`--metric knn-density`), or choose images with "
            "`fmsel split --random N`"
        )
    counts = np.bincount(data.labels, minlength=data.n_classes)
    if counts.min() < FOLDS:
        raise DataError(
            f"{data.name}: class {data.class_names[int(counts.argmin())]!r} has {counts.min()} "
            f"training images, but cross-fitting needs {FOLDS}; add images, drop the class, or "
            "score by metrics that hold none out, such as `--metric aum`"
        )


def _assemble(
    data: ImageDataset,
    folds: list[npt.NDArray[np.int64]],
    recipes: list[Recipe],
    finished: Finished,
    parameters: dict[str, Any],
) -> Crossfit:
    shape = (len(recipes), len(data), data.n_classes)
    predictions = np.empty(shape, np.float32)
    training = np.zeros(shape[:2], np.float32)
    networks: dict[Job, TrainedNetwork] = {}
    for (r, f), outputs in finished.arrays.items():
        held_out = folds[r] == f
        predictions[r, held_out] = outputs["heldout"]
        training[r] += outputs["training_mean"] / (FOLDS - 1)
        weights = {
            k.removeprefix("weight "): v for k, v in outputs.items() if k.startswith("weight ")
        }
        networks[r, f] = TrainedNetwork(recipe=recipes[r], weights=weights, held_out=held_out)
    accuracy = float((predictions.argmax(axis=2) == data.labels).mean())
    return Crossfit(
        heldout=predictions,
        training_mean=training,
        networks=networks,
        parameters={**parameters, "heldout_accuracy": round(accuracy, 4)},
    )
