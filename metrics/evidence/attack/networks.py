"""Attack the networks of the cross-fitted ensemble, each on the images that it held out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fmsel.datasets import ImageDataset
from fmsel.errors import DataError
from fmsel.metrics.evidence import crossfit
from fmsel.metrics.evidence.attack.minimum_norm import Norm, signed_distance
from fmsel.metrics.evidence.crossfit import Crossfit
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, Finished, job_names, run_jobs
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.network.train import forward, new_network
from fmsel.metrics.evidence.network.weights import TrainedNetwork, load_weights
from fmsel.training.engine.device import device_name

ITERATIONS = 20  # within 1 % of 100 and more on average, and the same order (Spearman 0.9998)
ATTACK = 1  # raise it when the attack changes: cached distances no longer count
STEPS = 2.0  # image steps that an iteration takes for one image, in fp32, on two CPU cores


def plan_attacks(data: ImageDataset, settings: Settings, norm: Norm) -> Plan:
    """One attack on each network of `crossfit`.

    Raises:
        DataError: there is only one class, or `crossfit` cannot be made.
    """
    networks = crossfit.plan(data, settings)
    if data.n_classes < 2:
        raise DataError(
            f"{data.name} has {data.n_classes} class, so no change of an image leaves it; "
            "the adv metrics need at least 2 classes"
        )
    jobs = list(networks.work)
    held_out = len(data) / crossfit.FOLDS
    return Plan(
        what=f"{len(jobs)} {norm} attacks ({ITERATIONS} iterations on {held_out:,.0f} images each)",
        work=dict.fromkeys(jobs, STEPS * ITERATIONS * held_out),
        names=job_names(
            jobs,
            data,
            settings,
            kind="attack",
            norm=norm,
            version=ATTACK,
            iterations=ITERATIONS,
            networks=[networks.names[job] for job in jobs],
        ),
        needs=("crossfit",),
    )


def attack_networks(
    title: str, data: ImageDataset, plan: Plan, settings: Settings, ensemble: Crossfit, norm: Norm
) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
    """(R, N) float32 signed distances, as `signed_distance` gives them, and the parameters."""
    device, _ = settings.place()

    def attack(job: Job, advance: Advance) -> Arrays:
        return attack_network(data, ensemble.networks[job], norm, device, advance)

    finished = run_jobs(title, plan, attack, settings)
    parameters = {
        "norm": norm,
        "iterations": ITERATIONS,
        "networks": len(finished.arrays),
        "attacks_from_cache": finished.from_cache,
        "failed": _failed(finished),
        "device": device_name(device),
        "precision": "fp32",
        "compute_seconds": finished.seconds,
    }
    return _assemble(ensemble.networks, finished), parameters


def attack_network(
    data: ImageDataset,
    network: TrainedNetwork,
    norm: Norm,
    device: torch.device,
    advance: Advance,
) -> dict[str, npt.NDArray[Any]]:
    """`distances` (K,) float32 and `failed` (K,) bool of the images that the network held out."""
    model = new_network(data, network.recipe, 0, device).eval().requires_grad_(False)
    load_weights(model, network.weights)

    def logits(pixels: Tensor) -> Tensor:
        return forward(model, 2 * pixels - 1, "fp32")

    held_out = np.flatnonzero(network.held_out)
    batch = 64 if device.type == "cpu" else 1_000
    distances, failed = [], []
    for chosen in np.split(held_out, range(batch, len(held_out), batch)):
        pixels = torch.tensor(data.images[chosen], device=device).permute(0, 3, 1, 2).float() / 255
        labels = torch.tensor(data.labels[chosen], device=device)
        found = signed_distance(logits, pixels, labels, norm, ITERATIONS)
        distances.append(found[0].cpu().numpy())
        failed.append(found[1].cpu().numpy())
        advance(STEPS * ITERATIONS * len(chosen))
    return {"distances": np.concatenate(distances), "failed": np.concatenate(failed)}


def _failed(finished: Finished) -> float:
    failed = np.concatenate([outputs["failed"] for outputs in finished.arrays.values()])
    return round(float(failed.mean()), 6)


def _assemble(
    networks: Mapping[Job, TrainedNetwork], finished: Finished
) -> npt.NDArray[np.float32]:
    count = len(next(iter(networks.values())).held_out)
    distances = np.empty((1 + max(r for r, _ in networks), count), np.float32)
    for (r, f), outputs in finished.arrays.items():
        distances[r, networks[r, f].held_out] = outputs["distances"]
    return distances
