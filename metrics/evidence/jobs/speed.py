"""How long will it take? A second of training tells."""

import time
from dataclasses import replace

import numpy as np
import torch

from fmsel.datasets import ImageDataset
from fmsel.metrics.evidence.jobs.run import job_threads
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.network.recipe import recipe_for
from fmsel.metrics.evidence.network.train import train_network

STEPS = 8  # batches a trial


def image_steps_per_second(data: ImageDataset, settings: Settings) -> float:
    """Rate of training the usual network on `data`, summed over the jobs that run at once."""
    device, precision = settings.place()
    recipe = replace(recipe_for(data, device), epochs=1)
    chosen = np.arange(STEPS * recipe.batch) % len(data)
    labelled = replace(data, labels=np.maximum(data.labels, 0))  # the rate needs no true labels

    def trial(_: int) -> None:
        train_network(
            labelled,
            train_on=chosen,
            recipe=recipe,
            seed=0,
            device=device,
            precision=precision,
            advance=lambda _: None,
        )
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    workers = torch.get_num_threads() if device.type == "cpu" else 1
    with job_threads(device) as pool:
        list(pool.map(trial, range(workers)))  # the first trial warms up
        start = time.perf_counter()
        list(pool.map(trial, range(workers)))
        return workers * len(chosen) / (time.perf_counter() - start)
