"""The gradient of each image's own loss at every checkpoint of the long runs.

TracInCP of Pruthi et al. 2020 (arXiv 2002.08484): the influence of an image on the loss of another
is about the sum over checkpoints of the learning rate times the inner product of their gradients,
so that of an image on itself is the sum of the rate times the squared norm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.metrics.evidence import long_run
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, job_names, run_jobs
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.long_run import LongRun
from fmsel.metrics.evidence.network import gradients
from fmsel.metrics.evidence.network.gradients import error_norms
from fmsel.metrics.evidence.network.train import new_network
from fmsel.metrics.evidence.network.weights import load_weights


@dataclass(frozen=True, kw_only=True, eq=False)
class Influence:
    """Gradient norms at the checkpoints of R runs.

    Attributes:
        gradients: (K, N) float32, >= 0, of the cross-entropy's gradient over all parameters, at the
            K checkpoints of all runs.
        rates: (K,) float64, > 0, the learning rate that stands for each checkpoint.
        runs: R.
        parameters: JSON-able.
    """

    gradients: npt.NDArray[np.float32]
    rates: npt.NDArray[np.float64]
    runs: int
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """A gradient an image and checkpoint.

    Raises:
        DataError: as the long run's plan.
    """
    key = long_run.run_key(data, settings)
    jobs: list[Job] = [(place,) for place in range(long_run.RUNS * long_run.CHECKPOINTS)]
    return Plan(
        what=f"each image's gradient at {long_run.CHECKPOINTS} checkpoints of {long_run.RUNS} runs",
        work=dict.fromkeys(jobs, gradients.COST * len(data)),
        names=job_names(jobs, data, settings, kind="influence", norms=gradients.VERSION, run=key),
        needs=("long_run",),
    )


def make(data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]) -> Influence:
    """Measure (or load) the gradients, checkpoint by checkpoint."""
    runs: LongRun = made["long_run"]
    device, precision = settings.place()

    def measure(job: Job, advance: Advance) -> Arrays:
        model = new_network(data, runs.recipe, 0, device)
        load_weights(model, runs.checkpoints[job[0]].weights)
        norms = error_norms(model, data, device=device, precision=precision, advance=advance)
        return {"gradient": norms.gradient}

    finished = run_jobs("self-influence", plan, measure, settings)
    return Influence(
        gradients=np.stack([finished.arrays[job]["gradient"] for job in plan.work]),
        rates=np.array([checkpoint.lr for checkpoint in runs.checkpoints]),
        runs=len({checkpoint.run for checkpoint in runs.checkpoints}),
        parameters={
            "epochs": [checkpoint.epoch for checkpoint in runs.checkpoints],
            "rates": [round(checkpoint.lr, 6) for checkpoint in runs.checkpoints],
            "jobs_from_cache": finished.from_cache,
            "compute_seconds": finished.seconds,
        },
    )
