"""Which images linear heads trained with clipping and noise classify correctly, when held out.

Softmax regression on the leading principal components of patch features. Each example's gradient
is clipped, and every step's mean gradient gets Gaussian noise, over a grid of levels: the mechanism
of DP-SGD, with features fitted to the images and no accounting, so it gives no privacy whatever.
For softmax regression the norm of an example's gradient is |p - e_y| |[z; 1]| exactly, so clipping
needs no per-example gradient, and the heads of all levels and both folds train as one product.

In each repetition the images are cut into two stratified folds; the heads trained without a fold
predict it.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from fmsel.datasets import ImageDataset
from fmsel.errors import DataError
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, job_names, run_jobs
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.network.folds import stratified_folds
from fmsel.metrics.evidence.patches import Patches
from fmsel.seeds import generator, torch_seed
from fmsel.training.engine.device import device_name

REPETITIONS = 10
FOLDS = 2
COMPONENTS = 256
SAMPLED_IMAGES = 10_000  # evenly spaced ones give the principal directions
BLOCK = 5_000  # images at a time
TRAINER = 1  # raise it when the features or the training change: cached outputs no longer count
HEADS = 0.016  # image steps that one image in one step of all heads of a fold takes


@dataclass(frozen=True, kw_only=True)
class NoisyRecipe:
    """Clipped and noisy gradient descent of the heads of all levels (ours)."""

    # Deviation of the noise on a step's mean gradient, in units of the clip norm; on CIFAR-10 they
    # span full accuracy to about twice chance.
    levels: tuple[float, ...] = (0.0, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
    steps: int = 100
    sample: float = 0.1  # share of the training images in a step, drawn without replacement
    clip: float = 0.5  # norm of a per-example gradient
    lr: float = 8.0  # falls linearly to 0
    momentum: float = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisyHeads:
    """How many held-out heads are right.

    Attributes:
        right: (S, N) int64, number of heads at each noise level that held the image out and
            classify it correctly, from no noise to the most.
        models: number of heads that held each image out at each level.
        parameters: levels and held-out accuracy of each, recipe, device, JSON-able.
    """

    right: npt.NDArray[np.int64]
    models: int
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """Ten repetitions.

    Raises:
        DataError: a label is missing, or a class has a single image.
    """
    _check(data)
    recipe = NoisyRecipe()
    jobs = [(repetition,) for repetition in range(REPETITIONS)]
    names = job_names(
        jobs,
        data,
        settings,
        kind="noisy_heads",
        trainer=TRAINER,
        folds=FOLDS,
        components=COMPONENTS,
        recipe=asdict(recipe),
    )
    heads = REPETITIONS * FOLDS * len(recipe.levels)
    return Plan(
        what=f"{heads} linear heads with clipped, noisy gradients ({len(recipe.levels)} levels, "
        f"{REPETITIONS} repetitions of {FOLDS}-fold cross-fitting) on {COMPONENTS} components",
        work=dict.fromkeys(jobs, recipe.steps * recipe.sample * len(data) * HEADS),
        names=names,
        needs=("patches",),
    )


def make(data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]) -> NoisyHeads:
    """Train (or load) the heads on `data` and count those that are right."""
    device, _ = settings.place()
    recipe = NoisyRecipe()
    patches: Patches = made["patches"]
    start = time.perf_counter()
    features = components(torch.from_numpy(patches.features), COMPONENTS).to(device)
    preparing = time.perf_counter() - start
    labels = torch.tensor(data.labels, device=device)

    def train(job: Job, advance: Advance) -> Arrays:
        rng = generator(settings.seed, "noisy heads folds", *job)
        folds = torch.tensor(stratified_folds(data.labels, FOLDS, rng), device=device)
        weights = train_heads(
            features,
            labels,
            train_on=[(folds != fold).nonzero()[:, 0] for fold in range(FOLDS)],
            n_classes=data.n_classes,
            recipe=recipe,
            seed=torch_seed(settings.seed, "noisy heads", *job),
            advance=lambda steps: advance(steps * recipe.sample * len(data) * HEADS),
        )
        right = torch.empty(len(recipe.levels), len(data), dtype=torch.bool, device=device)
        for fold in range(FOLDS):
            held_out = folds == fold
            logits = torch.einsum("nd,dsc->snc", features[held_out], weights[fold])
            right[:, held_out] = logits.argmax(dim=2) == labels[held_out]
        return {"right": np.packbits(right.cpu().numpy(), axis=1)}

    finished = run_jobs("noisy heads", plan, train, settings)
    right = np.zeros((len(recipe.levels), len(data)), np.int64)
    for outputs in finished.arrays.values():
        right += np.unpackbits(outputs["right"], axis=1, count=len(data))
    accuracy = (right.mean(axis=1) / REPETITIONS).tolist()
    return NoisyHeads(
        right=right,
        models=REPETITIONS,
        parameters={
            **asdict(recipe),
            "levels": list(recipe.levels),
            "components": features.shape[1] - 1,
            "repetitions": REPETITIONS,
            "folds": FOLDS,
            "heldout_accuracy": [round(each, 4) for each in accuracy],
            "device": device_name(device),
            "repetitions_from_cache": finished.from_cache,
            "compute_seconds": round(finished.seconds + preparing, 1),
        },
    )


def components(features: Tensor, count: int) -> Tensor:
    """Leading principal components, half whitened, of unit length, and a constant 1.

    A component is divided by the square root of its deviation: as they are, the first few decide
    alone; fully whitened, the last ones are mostly noise.

    Args:
        features: (N, D) float32, on the host.
    Returns:
        (N, min(count, D) + 1) float32; no label is read, but every image is.
    """
    every = -(-len(features) // SAMPLED_IMAGES)
    centre = features.mean(dim=0)
    sample = features[::every] - centre
    values, vectors = torch.linalg.eigh(sample.T @ sample / len(sample))
    values, vectors = values[-count:], vectors[:, -count:]
    floor = 1e-6 * values[-1]  # directions without variance, as with few images
    scaled = vectors * torch.where(values > floor, values, torch.inf).pow(-0.25)
    rows = [F.normalize((block - centre) @ scaled, dim=1) for block in torch.split(features, BLOCK)]
    return F.pad(torch.cat(rows), (0, 1), value=1.0)


def train_heads(
    features: Tensor,
    labels: Tensor,
    *,
    train_on: list[Tensor],
    n_classes: int,
    recipe: NoisyRecipe,
    seed: int,
    advance: Advance,
) -> Tensor:
    """Train the heads of all levels on each set of images, from zero weights.

    Args:
        features: (N, D) float, the last one a constant 1.
        labels: (N,) int64.
        train_on: F arrays of indices; the larger give up a few images a step.
        n_classes: C.
        recipe: S levels and the optimisation.
        seed: of order and noise.
        advance: told the number of steps done (1) after each.
    Returns:
        (F, D, S, C) weights.
    """
    device, dtype = features.device, features.dtype
    rng = torch.Generator(device).manual_seed(seed)
    noise = recipe.clip * torch.tensor(recipe.levels, device=device, dtype=dtype)[:, None]
    batch = max(1, round(recipe.sample * min(map(len, train_on))))
    shape = (len(train_on), features.shape[1], len(recipe.levels), n_classes)
    weights = torch.zeros(shape, device=device, dtype=dtype)
    velocity = torch.zeros_like(weights)
    for step in range(recipe.steps):
        drawn = [torch.randperm(len(own), generator=rng, device=device)[:batch] for own in train_on]
        chosen = torch.stack([own[order] for own, order in zip(train_on, drawn, strict=True)])
        gradient = clipped_gradient(weights, features[chosen], labels[chosen], recipe.clip)
        gradient += noise * torch.randn(shape, generator=rng, device=device, dtype=dtype)
        velocity.mul_(recipe.momentum).add_(gradient)
        weights -= recipe.lr * (1 - step / recipe.steps) * velocity
        advance(1)
    return weights


def clipped_gradient(weights: Tensor, inputs: Tensor, labels: Tensor, clip: float) -> Tensor:
    """The mean over a batch of the clipped cross-entropy gradient of each example.

    Args:
        weights: (F, D, S, C), S heads for each of F batches.
        inputs: (F, B, D).
        labels: (F, B) int64.
        clip: greatest norm of an example's gradient.
    Returns:
        (F, D, S, C).
    """
    sets, batch, _ = inputs.shape
    logits = torch.bmm(inputs, weights.flatten(2)).view(sets, batch, *weights.shape[2:])
    one_hot = F.one_hot(labels, weights.shape[3])[:, :, None]  # (F, B, 1, C)
    errors = logits.softmax(dim=3) - one_hot
    norms = errors.norm(dim=3, keepdim=True) * inputs.norm(dim=2)[:, :, None, None]
    errors *= (clip / norms).clamp(max=1)  # a norm of 0 gives infinity, and 1
    summed = torch.bmm(inputs.transpose(1, 2), errors.flatten(2))
    return summed.view(weights.shape) / batch


def _check(data: ImageDataset) -> None:
    if not data.labelled:
        raise DataError(
            f"{data.name} has images without a label, and noise-tolerance trains on labels; score "
            "a labelled data set"
        )
    counts = np.bincount(data.labels, minlength=data.n_classes)
    if counts.min() < FOLDS:
        raise DataError(
            f"{data.name}: class {data.class_names[int(counts.argmin())]!r} has {counts.min()} "
            f"training images, but the cross-fitting of noise-tolerance needs {FOLDS}; add images, "
            "drop the class, or use leave-one-out"
        )
