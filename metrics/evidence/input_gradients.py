"""How much the gradient of an image's own logit by its pixels varies over a long run's checkpoints.

Agarwal, D'souza and Hooker 2022 (arXiv 2008.11600, section 2): the gradient of the given label's
logit (before softmax) by the unaugmented image, averaged over colour channels; the standard
deviation over the checkpoints, averaged over pixels. (The printed formula has the root over 1 / K
alone; the authors' code takes the standard deviation, and so do we.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fmsel.datasets import ImageDataset
from fmsel.metrics.evidence import long_run
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, job_names, run_jobs
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.long_run import LongRun
from fmsel.metrics.evidence.network.train import forward, new_network
from fmsel.metrics.evidence.network.weights import load_weights
from fmsel.training.augment.weak import to_float
from fmsel.training.engine.device import Precision

CHUNK = 5_000  # images a job
BATCH = 250
STEPS = 0.55  # image steps of one gradient, measured on a CPU: none is taken by weights
VERSION = 1  # raise it when the gradients or what is taken of them change


@dataclass(frozen=True, kw_only=True, eq=False)
class InputGradients:
    """Variation of input gradients.

    Attributes:
        variation: (R, N) float32, >= 0, for each of R runs.
        parameters: JSON-able.
    """

    variation: npt.NDArray[np.float32]
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """A gradient an image and checkpoint.

    Raises:
        DataError: as the long run's plan.
    """
    key = long_run.run_key(data, settings)
    chunks = range(-(-len(data) // CHUNK))
    jobs: list[Job] = [(run, chunk) for run in range(long_run.RUNS) for chunk in chunks]
    return Plan(
        what=f"input gradients of {len(data):,} images at {long_run.CHECKPOINTS} checkpoints of "
        f"{long_run.RUNS} runs",
        work={job: STEPS * long_run.CHECKPOINTS * len(_members(data, job[1])) for job in jobs},
        names=job_names(
            jobs, data, settings, kind="input_gradients", version=VERSION, chunk=CHUNK, run=key
        ),
        needs=("long_run",),
    )


def make(
    data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]
) -> InputGradients:
    """Differentiate every image at every checkpoint, chunk by chunk."""
    runs: LongRun = made["long_run"]
    device, precision = settings.place()

    def differentiate(job: Job, advance: Advance) -> Arrays:
        run, chunk = job
        models = [_network(data, runs, i, device) for i in _checkpoints_of(runs, run)]
        members = _members(data, chunk)
        parts = []
        for batch in np.split(members, range(BATCH, len(members), BATCH)):
            views = to_float(torch.tensor(data.images[batch], device=device).permute(0, 3, 1, 2))
            labels = torch.tensor(data.labels[batch], device=device)
            gradients = [input_gradient(model, views, labels, precision) for model in models]
            parts.append(variation(torch.stack(gradients)).cpu().numpy())
            advance(STEPS * len(models) * len(batch))
        return {"variation": np.concatenate(parts)}

    finished = run_jobs("input gradients", plan, differentiate, settings)
    rows = [
        np.concatenate([each["variation"] for (r, _), each in finished.arrays.items() if r == run])
        for run in range(len(runs.margins))
    ]
    return InputGradients(
        variation=np.stack(rows),
        parameters={
            "checkpoints": runs.parameters["checkpoints"],
            "jobs_from_cache": finished.from_cache,
            "compute_seconds": finished.seconds,
        },
    )


def input_gradient(model: nn.Module, views: Tensor, labels: Tensor, precision: Precision) -> Tensor:
    """Gradient of each image's own logit by its pixels, averaged over channels.

    Args:
        model: in evaluation mode, so that the images of a batch do not touch each other.
        views: (B, 3, H, W) float32 in [-1, 1].
        labels: (B,) int64.
    Returns:
        (B, H, W) float32.
    """
    views = views.detach().requires_grad_()
    own = forward(model, views, precision).gather(1, labels[:, None]).sum()
    (gradient,) = torch.autograd.grad(own, views)
    return gradient.mean(dim=1)


def variation(gradients: Tensor) -> Tensor:
    """(K, B, H, W) -> (B,): standard deviation over the K checkpoints, mean over the pixels."""
    return gradients.std(dim=0, correction=0).mean(dim=(1, 2))


def _members(data: ImageDataset, chunk: int) -> npt.NDArray[np.int64]:
    return np.arange(chunk * CHUNK, min((chunk + 1) * CHUNK, len(data)))


def _checkpoints_of(runs: LongRun, run: int) -> list[int]:
    return [i for i, checkpoint in enumerate(runs.checkpoints) if checkpoint.run == run]


def _network(data: ImageDataset, runs: LongRun, place: int, device: torch.device) -> nn.Module:
    model = new_network(data, runs.recipe, 0, device)
    load_weights(model, runs.checkpoints[place].weights)
    return model.eval().requires_grad_(False)
