"""Predictions of a cross-fitted ensemble: every image is predicted by networks that never saw it.

In each repetition the images are cut into stratified folds, and one network is trained without
each fold; then it predicts its held-out fold, averaging over mirror images where the data set's
weak augmentation flips. The outputs of a finished network are cached, so an interrupted run goes
on with the next one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import sha256_json
from fmsel.datasets import ImageDataset
from fmsel.errors import DataError
from fmsel.metrics.evidence.gather import Settings
from fmsel.metrics.evidence.network.folds import stratified_folds
from fmsel.metrics.evidence.network.recipe import Recipe, recipe_for
from fmsel.metrics.evidence.network.side_by_side import train_side_by_side
from fmsel.metrics.evidence.network.store import NetworkOutputs, load_outputs, save_outputs
from fmsel.metrics.evidence.network.train import images_handled, train_network
from fmsel.progress import progress_bar
from fmsel.seeds import generator, torch_seed
from fmsel.training.engine.device import device_name, resolve_device, resolve_precision

REPETITIONS = 3  # each holds every image out once; `agr` needs three such networks
FOLDS = 2
TRAINER = 2  # raise it when the network or its training changes: cached outputs no longer count


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossfit:
    """Predictions by networks that held the image out, and by those that trained on it.

    Attributes:
        heldout: (R, N, C) float32, softmax after the last epoch of the network of repetition r
            that held image i out.
        training_mean: (R, N) float32 in [0, 1], probability of the given label while training on
            the (augmented) image, averaged over epochs and over the networks that trained on it.
        parameters: recipe, device and held-out accuracy, JSON-able.
    """

    heldout: npt.NDArray[np.float32]
    training_mean: npt.NDArray[np.float32]
    parameters: Mapping[str, Any]


def make(data: ImageDataset, settings: Settings) -> Crossfit:
    """Train (or load) the ensemble on `data` and collect its predictions.

    Raises:
        DataError: a label is missing, or a class has fewer images than there are folds.
    """
    _check(data)
    device = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    recipe = recipe_for(data, device)
    folds = [
        stratified_folds(data.labels, FOLDS, generator(settings.seed, "crossfit folds", repetition))
        for repetition in range(REPETITIONS)
    ]
    key = {
        "images": data.images_sha256,
        "labels": data.labels_sha256,
        "weak": [data.weak.flip, data.weak.shift],
        "recipe": recipe.as_dict(),
        "folds": FOLDS,
        "trainer": TRAINER,
        "seed": settings.seed,
        "device": device.type,
        "precision": precision,
    }
    names = {
        (r, f): sha256_json({**key, "repetition": r, "fold": f})
        for r in range(REPETITIONS)
        for f in range(FOLDS)
    }
    outputs: dict[tuple[int, int], NetworkOutputs] = {}
    for job, name in names.items():
        if settings.cache and (found := load_outputs(name)) is not None:
            outputs[job] = found
    missing = [job for job in names if job not in outputs]
    _announce(data, recipe, len(missing), len(names), settings)
    with progress_bar(f"{len(missing)} networks", _work(data, recipe, len(missing))) as bar:

        def train(job: tuple[int, int], advance: Callable[[int], None]) -> NetworkOutputs:
            r, f = job
            network = train_network(
                data,
                held_out=folds[r] == f,
                recipe=recipe,
                seed=torch_seed(settings.seed, "crossfit network", r, f),
                device=device,
                precision=precision,
                advance=advance,
            )
            if settings.cache:
                save_outputs(names[job], network)
            return network

        outputs |= train_side_by_side(missing, train, bar, device)
    parameters = {
        **recipe.as_dict(),
        "repetitions": REPETITIONS,
        "folds": FOLDS,
        "networks": len(names),
        "networks_from_cache": len(names) - len(missing),
        "device": device_name(device),
        "precision": precision,
        "training_seconds": round(sum(each.seconds for each in outputs.values()), 1),
    }
    return _assemble(data, folds, outputs, parameters)


def _work(data: ImageDataset, recipe: Recipe, networks: int) -> int:
    """Images that `networks` networks handle."""
    return networks * images_handled(data, len(data) // FOLDS, recipe)


def _check(data: ImageDataset) -> None:
    if not data.labelled:
        raise DataError(
            f"{data.name} has images without a label, and a cross-fitted ensemble trains on "
            "labels; score a labelled data set, or choose images with `fmsel split --random N`"
        )
    counts = np.bincount(data.labels, minlength=data.n_classes)
    if counts.min() < FOLDS:
        raise DataError(
            f"{data.name}: class {data.class_names[int(counts.argmin())]!r} has {counts.min()} "
            f"training images, but cross-fitting needs {FOLDS}; add images or drop the class"
        )


def _announce(
    data: ImageDataset, recipe: Recipe, missing: int, total: int, settings: Settings
) -> None:
    trained = len(data) * (FOLDS - 1) // FOLDS
    if missing:
        settings.say(
            f"training {missing} of {total} networks ({recipe.arch}, {recipe.epochs} epochs on "
            f"{trained:,} images each, {REPETITIONS} repetitions of {FOLDS}-fold cross-fitting)"
        )
    else:
        settings.say(f"all {total} networks of the ensemble come from the cache")


def _assemble(
    data: ImageDataset,
    folds: list[npt.NDArray[np.int64]],
    outputs: Mapping[tuple[int, int], NetworkOutputs],
    parameters: dict[str, Any],
) -> Crossfit:
    shape = (REPETITIONS, len(data), data.n_classes)
    predictions = np.empty(shape, np.float32)
    training = np.zeros(shape[:2], np.float32)
    for (r, f), network in outputs.items():
        held_out = folds[r] == f
        predictions[r, held_out] = network.heldout
        training[r, ~held_out] += network.training_mean / (FOLDS - 1)
    accuracy = float((predictions.argmax(axis=2) == data.labels).mean())
    return Crossfit(
        heldout=predictions,
        training_mean=training,
        parameters={**parameters, "heldout_accuracy": round(accuracy, 4)},
    )
