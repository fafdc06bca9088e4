"""Which networks get an image right that were trained on few of the others: N/32, ..., N/4.

For each size the images are cut into stratified folds of it, and a network is trained on one fold
and asked about images of the others. So many networks are trained, over as many cuts, that every
image is predicted by exactly `HELD_OUT` that never saw it, at every size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.errors import DataError
from fmsel.metrics.evidence import crossfit
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, Finished, job_names, run_jobs
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.network.folds import stratified_folds
from fmsel.metrics.evidence.network.predict import predict, predict_work
from fmsel.metrics.evidence.network.recipe import Recipe, recipe_for
from fmsel.metrics.evidence.network.train import train_network
from fmsel.seeds import generator, torch_seed
from fmsel.training.engine.device import device_name

DIVISORS = (32, 16, 8, 4)  # a network trains on N / divisor images; N / 2 is `crossfit`
HELD_OUT = 10  # networks an image and size, so that 90 % may be one wrong
PER_CLASS = 2  # mean images of a class below which a size is left out
MIN_EPOCHS, MIN_STEPS = 4, 200  # few: there are about fifty networks
VERSION = 1  # raise it when this file computes something else: cached outputs no longer count


@dataclass(frozen=True, kw_only=True, eq=False)
class Subsets:
    """How many networks that held an image out get it right, by the size of their training subset.

    Attributes:
        sizes: (S,) int64, images trained on, rising.
        right: (S, N) int64, in 0..networks.
        networks: that held each image out, at each size.
        parameters: held-out accuracy at each size, epochs, device; JSON-able.
    """

    sizes: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    networks: int
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """About a dozen networks for each size.

    Raises:
        DataError: a label is missing, or a class has too few images for any size.
    """
    divisors = _divisors(data)
    recipes = {divisor: _recipe(data, settings, divisor) for divisor in divisors}
    work: dict[Job, float] = {
        (divisor, cut, fold): _work(data, recipes[divisor], divisor, networks)
        for divisor in divisors
        for cut, networks in enumerate(networks_per_cut(divisor))
        for fold in range(networks)
    }
    names = job_names(
        list(work),
        data,
        settings,
        kind="subsets",
        version=VERSION,
        trainer=crossfit.TRAINER,
        held_out=HELD_OUT,
        recipes=[recipe.as_dict() for recipe in recipes.values()],
    )
    sizes = ", ".join(f"{len(data) // divisor:,}" for divisor in divisors)
    return Plan(
        what=f"{len(work)} networks ({recipes[divisors[0]].arch}) on subsets of {sizes} images",
        work=work,
        names=names,
    )


def make(data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]) -> Subsets:
    """Train (or load) the networks, and count those that are right about images they never saw."""
    device, precision = settings.place()
    # A mirror image would double the predictions, which are a third of the work.
    unmirrored = replace(data, weak=replace(data.weak, flip=False))

    def train(job: Job, advance: Advance) -> Arrays:
        train_on, asked = train_and_asked(data.labels, job, settings.seed)
        model = train_network(
            data,
            train_on=train_on,
            recipe=_recipe(data, settings, job[0]),
            seed=torch_seed(settings.seed, "subset network", *job),
            device=device,
            precision=precision,
            advance=advance,
        )
        predictions = predict(
            model, unmirrored, asked, device=device, precision=precision, advance=advance
        )
        return {"right": predictions.argmax(axis=1) == data.labels[asked]}

    finished = run_jobs("subsets", plan, train, settings)
    parameters = {
        "networks_from_cache": finished.from_cache,
        "device": device_name(device),
        "precision": precision,
        "compute_seconds": finished.seconds,
    }
    return _assemble(data, settings, finished, parameters)


def networks_per_cut(divisor: int) -> list[int]:
    """How many networks are trained of each cut into `divisor` folds.

    With r of them every image is predicted by r - 1 (see `train_and_asked`); over the cuts these
    add up to `HELD_OUT`.
    """
    out, left = list[int](), HELD_OUT
    while left:
        out.append(min(divisor, left + 1))
        left -= out[-1] - 1
    return out


def train_and_asked(
    labels: npt.NDArray[np.int64], job: Job, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The images that the network of a job is trained on, and those it is asked about.

    Where r folds of a cut are trained on, network f is asked about all images but those of folds
    f, f + r, ...: so it never meets its own, and each image is left out by one network of the r.

    Args:
        labels: (N,) of all images.
        job: (divisor, cut, fold).
        seed: the user's.
    Returns:
        Two arrays of global indices, rising.
    """
    divisor, cut, fold = job
    folds = stratified_folds(labels, divisor, generator(seed, "subset folds", divisor, cut))
    networks = networks_per_cut(divisor)[cut]
    return np.flatnonzero(folds == fold), np.flatnonzero(folds % networks != fold)


def _recipe(data: ImageDataset, settings: Settings, divisor: int) -> Recipe:
    """The usual one, with smaller batches on small subsets and no more epochs than needed."""
    size = len(data) // divisor
    usual = recipe_for(data, settings.place()[0])
    batch = min(usual.batch, max(16, size // 8))
    return replace(usual, batch=batch, epochs=max(MIN_EPOCHS, ceil(MIN_STEPS * batch / size)))


def _work(data: ImageDataset, recipe: Recipe, divisor: int, networks: int) -> float:
    unmirrored = predict_work(data, len(data) - len(data) // networks) / (1 + data.weak.flip)
    return len(data) // divisor * recipe.epochs + unmirrored


def _divisors(data: ImageDataset) -> list[int]:
    """The sizes at which a class has `PER_CLASS` images or more, on average."""
    if not data.labelled:
        raise DataError(
            f"{data.name} has images without a label, and training on subsets needs labels; "
            "score a labelled data set, or choose images with `fmsel split --random N`"
        )
    divisors = [d for d in DIVISORS if len(data) // d >= PER_CLASS * data.n_classes]
    if not divisors:
        raise DataError(
            f"{data.name} has {len(data)} images of {data.n_classes} classes, but subset-tolerance "
            f"needs {PER_CLASS * DIVISORS[-1]} a class; add images or leave this metric out"
        )
    return divisors


def _assemble(
    data: ImageDataset, settings: Settings, finished: Finished, parameters: dict[str, Any]
) -> Subsets:
    divisors = _divisors(data)
    right = np.zeros((len(divisors), len(data)), np.int64)
    for job, outputs in finished.arrays.items():
        _, asked = train_and_asked(data.labels, job, settings.seed)
        right[divisors.index(job[0]), asked] += outputs["right"]
    sizes = [len(data) // divisor for divisor in divisors]
    recipes = [_recipe(data, settings, divisor) for divisor in divisors]
    return Subsets(
        sizes=np.array(sizes),
        right=right,
        networks=HELD_OUT,
        parameters={
            "arch": recipes[0].arch,
            "sizes": sizes,
            "epochs": [recipe.epochs for recipe in recipes],
            "batch": [recipe.batch for recipe in recipes],
            "heldout_accuracy": [round(float(row.mean()) / HELD_OUT, 4) for row in right],
            "networks": len(finished.arrays),
            "networks_a_image": HELD_OUT,
            **parameters,
        },
    )
