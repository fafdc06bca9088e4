"""Two longer trainings on all images: the margin at every presentation, and weights on the way.

Each run trains on every image with a seed of its own. What the network gave for the (augmented)
image just before the step that learned from it is recorded in every epoch, and the weights are kept
at `CHECKPOINTS` epochs spread over the run, the last of them the finished network's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fmsel.artefacts import sha256_json
from fmsel.datasets import ImageDataset
from fmsel.errors import DataError
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, job_names, run_jobs
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.network.recipe import Recipe, learning_rates, recipe_for
from fmsel.metrics.evidence.network.train import train_network
from fmsel.metrics.evidence.network.weights import weights_of
from fmsel.seeds import torch_seed
from fmsel.training.engine.device import device_name

RUNS = 2
CHECKPOINTS = 5  # a run
STRETCH, STRETCH_GPU = 1.7, 7.5  # times the epochs of an ensemble's network: 12 and 30 in all
TRAINER = 1  # raise it when the network or its training changes: cached outputs no longer count


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A network on its way.

    Attributes:
        run: 0-based.
        epoch: epochs done, in [1, E]; E at the finished network.
        lr: mean learning rate of the steps since the run's previous checkpoint (the rate itself is
            0 when the network is finished).
        weights: parameters and running statistics, by name, as `load_weights` takes them.
    """

    run: int
    epoch: int
    lr: float
    weights: Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True, eq=False)
class LongRun:
    """What R runs of E epochs gave.

    Attributes:
        margins: (R, E, N) float32, the logit of the given label minus the largest of the others,
            at each presentation; > 0 = classified as labelled.
        recipe: how each run was trained.
        checkpoints: run by run, in the order of training.
        key: a hash of all that the runs depend on, for the cache keys of evidence made from them.
        parameters: recipe, device and final training accuracy, JSON-able.
    """

    margins: npt.NDArray[np.float32]
    recipe: Recipe
    checkpoints: tuple[Checkpoint, ...]
    key: str
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """`RUNS` trainings.

    Raises:
        DataError: a label is missing, or there is only one class.
    """
    _check(data)
    recipe = long_recipe(data, settings.place()[0])
    jobs: list[Job] = [(run,) for run in range(RUNS)]
    names = job_names(
        jobs,
        data,
        settings,
        kind="long_run",
        trainer=TRAINER,
        recipe=recipe.as_dict(),
        checkpoints=CHECKPOINTS,
    )
    return Plan(
        what=f"{RUNS} networks ({recipe.arch}; {recipe.epochs} epochs on all {len(data):,} images)",
        work=dict.fromkeys(jobs, float(len(data) * recipe.epochs)),
        names=names,
    )


def run_key(data: ImageDataset, settings: Settings) -> str:
    """`LongRun.key` of the runs that `make` gives, known before they are made; errors of `plan`."""
    return sha256_json(sorted(plan(data, settings).names.values()))


def long_recipe(data: ImageDataset, device: torch.device) -> Recipe:
    """The ensemble's recipe, with more epochs (at least one a checkpoint)."""
    recipe = recipe_for(data, device)
    stretch = STRETCH_GPU if device.type == "cuda" else STRETCH
    return replace(recipe, epochs=max(CHECKPOINTS, ceil(stretch * recipe.epochs)))


def make(data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]) -> LongRun:
    """Train (or load) the runs on all images of `data`."""
    device, precision = settings.place()
    recipe = long_recipe(data, device)
    labels = torch.tensor(data.labels, device=device)
    kept = checkpoint_epochs(recipe)

    def train(job: Job, advance: Advance) -> Arrays:
        margins = torch.empty(recipe.epochs, len(data), device=device)
        weights: dict[str, npt.NDArray[np.generic]] = {}
        now = 0

        def observe(indices: Tensor, logits: Tensor) -> None:
            margins[now, indices] = margin(logits, labels[indices])

        def after_epoch(epoch: int, model: nn.Module) -> None:
            nonlocal now
            now = epoch + 1
            if now in kept:
                weights.update({f"{now} {k}": v for k, v in weights_of(model).items()})

        train_network(
            data,
            train_on=np.arange(len(data)),
            recipe=recipe,
            seed=torch_seed(settings.seed, "long run", *job),
            device=device,
            precision=precision,
            advance=advance,
            observe=observe,
            after_epoch=after_epoch,
        )
        return {"margins": margins.cpu().numpy(), **weights}

    finished = run_jobs("long run", plan, train, settings)
    margins = np.stack([outputs["margins"] for outputs in finished.arrays.values()])
    return LongRun(
        margins=margins,
        recipe=recipe,
        checkpoints=tuple(
            checkpoint
            for (run,), outputs in finished.arrays.items()
            for checkpoint in _checkpoints(run, outputs, recipe, len(data))
        ),
        key=run_key(data, settings),
        parameters={
            **recipe.as_dict(),
            "runs": RUNS,
            "checkpoints": list(kept),
            "runs_from_cache": finished.from_cache,
            "device": device_name(device),
            "precision": precision,
            "training_accuracy": round(float((margins[:, -1] > 0).mean()), 4),
            "compute_seconds": finished.seconds,
        },
    )


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, C) logits, C >= 2, and (B,) labels -> (B,): that of the label minus the best other."""
    own = labels[:, None]
    others = logits.scatter(1, own, -torch.inf).amax(dim=1)
    return logits.gather(1, own)[:, 0] - others


def checkpoint_epochs(recipe: Recipe) -> tuple[int, ...]:
    """`CHECKPOINTS` numbers of epochs done, evenly spread, the last `recipe.epochs`."""
    return tuple(round(recipe.epochs * (k + 1) / CHECKPOINTS) for k in range(CHECKPOINTS))


def _checkpoints(run: int, outputs: Arrays, recipe: Recipe, count: int) -> list[Checkpoint]:
    rates = learning_rates(recipe, count)
    found, before = [], 0
    for epoch in checkpoint_epochs(recipe):
        prefix = f"{epoch} "
        found.append(
            Checkpoint(
                run=run,
                epoch=epoch,
                lr=float(rates[before:epoch].mean()),
                weights={
                    name.removeprefix(prefix): array
                    for name, array in outputs.items()
                    if name.startswith(prefix)
                },
            )
        )
        before = epoch
    return found


def _check(data: ImageDataset) -> None:
    if not data.labelled:
        raise DataError(
            f"{data.name} has images without a label, and a long run trains on labels; score a "
            "labelled data set, or choose images with `fmsel split --random N`"
        )
    if data.n_classes < 2:
        raise DataError(
            f"{data.name} has only the class {data.class_names[0]!r}, and margins compare two; "
            "add images of another class"
        )
