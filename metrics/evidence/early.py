"""Ten short runs on all images, and how large each image's error still is at their end.

Paul, Ganguli and Dziugaite 2021 (arXiv 2107.07075, section 2) score images after a tenth of a usual
training or less, and average over ten runs. Here a run is early because it is short: it goes
through its whole one-cycle schedule in a few epochs. At the end of a cycle the rate is 0, so that
the running statistics of batch norm belong to the weights, and less of the last batches is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fmsel.datasets import ImageDataset
from fmsel.errors import DataError
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, job_names, run_jobs
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.network import gradients
from fmsel.metrics.evidence.network.gradients import error_norms
from fmsel.metrics.evidence.network.recipe import Recipe, recipe_for
from fmsel.metrics.evidence.network.train import train_network
from fmsel.seeds import torch_seed
from fmsel.training.engine.device import device_name

RUNS = 10
SHARE = 0.4  # of the epochs of an ensemble's network, which are few: 3 for CIFAR-10 on a CPU
MAX_EPOCHS = 15  # with more, a network of 60 images has learned their wrong labels too
TRAINER = 1  # raise it when the network or its training changes: cached outputs no longer count


@dataclass(frozen=True, kw_only=True, eq=False)
class Early:
    """Norms of the errors at the end of R short runs.

    Attributes:
        errors: (R, N) float32 in [0, sqrt 2], of the softmax minus the one-hot label.
        gradients: (R, N) float32, >= 0, of the cross-entropy's gradient over all parameters.
        parameters: recipe and device, JSON-able.
    """

    errors: npt.NDArray[np.float32]
    gradients: npt.NDArray[np.float32]
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """`RUNS` short trainings.

    Raises:
        DataError: a label is missing.
    """
    if not data.labelled:
        raise DataError(
            f"{data.name} has images without a label, and el2n and grand measure the error of a "
            "given label; score a labelled data set, or choose images with `fmsel split --random N`"
        )
    recipe = early_recipe(data, settings.place()[0])
    jobs: list[Job] = [(run,) for run in range(RUNS)]
    return Plan(
        what=f"{RUNS} networks ({recipe.arch}; {recipe.epochs} epochs on all {len(data):,} "
        "images), each image's gradient at the end",
        work=dict.fromkeys(jobs, (recipe.epochs + gradients.COST) * len(data)),
        names=job_names(
            jobs,
            data,
            settings,
            kind="early",
            trainer=TRAINER,
            norms=gradients.VERSION,
            recipe=recipe.as_dict(),
        ),
    )


def early_recipe(data: ImageDataset, device: torch.device) -> Recipe:
    """The ensemble's recipe in fewer epochs."""
    recipe = recipe_for(data, device)
    return replace(recipe, epochs=min(MAX_EPOCHS, ceil(SHARE * recipe.epochs)))


def make(data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]) -> Early:
    """Train (or load) the runs on all images of `data`."""
    device, precision = settings.place()
    recipe = early_recipe(data, device)

    def train(job: Job, advance: Advance) -> Arrays:
        model = train_network(
            data,
            train_on=np.arange(len(data)),
            recipe=recipe,
            seed=torch_seed(settings.seed, "early run", *job),
            device=device,
            precision=precision,
            advance=advance,
        )
        norms = error_norms(model, data, device=device, precision=precision, advance=advance)
        return norms._asdict()

    finished = run_jobs("short runs", plan, train, settings)
    return Early(
        errors=np.stack([each["error"] for each in finished.arrays.values()]),
        gradients=np.stack([each["gradient"] for each in finished.arrays.values()]),
        parameters={
            **recipe.as_dict(),
            "runs": RUNS,
            "runs_from_cache": finished.from_cache,
            "device": device_name(device),
            "precision": precision,
            "compute_seconds": finished.seconds,
        },
    )
