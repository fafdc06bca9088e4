"""Which images models with differential privacy classify correctly, over a grid of epsilon.

A model is a linear softmax head trained by DP-SGD (Abadi et al. 2016, arXiv 1607.00133) with
Opacus: Poisson sampling, per-example clipping, Gaussian noise, and its Renyi accountant. It reads
features of which nothing was fitted to the images (`fmsel.embeddings.gabor`): features learned from
the same images would carry them past the noise, and no epsilon would hold. As in Carlini et al.
2019 the models train on all images, for privacy itself bounds what they can remember of one.

Each model alone has its epsilon (add or remove one image; their number is taken as known). All of
them together, and the scores, which compare them with the labels, are not private.
"""

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fmsel.datasets import ImageDataset
from fmsel.embeddings import gabor
from fmsel.errors import DataError, OptionError
from fmsel.metrics.evidence.jobs.plan import Job, Plan
from fmsel.metrics.evidence.jobs.run import Advance, Arrays, Finished, job_names, run_jobs
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.metrics.evidence.jobs.store import load_arrays
from fmsel.progress import progress_bar
from fmsel.seeds import torch_seed
from fmsel.training.engine.device import device_name

EPSILONS = (16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)  # the mildest first
DELTA = 1e-5
MODELS = 10  # at each epsilon
TRAINER = 1  # raise it when the features or the training change: cached outputs no longer count
# Orders of the accountant: a bound at any order holds; small epsilons need the high ones.
ORDERS = (*(1 + i / 4 for i in range(1, 8)), *range(3, 32), *(2**i for i in range(5, 10)), 48, 96)
ENCODING = 2.0  # image steps that encoding one image takes, measured on two CPU cores
HEAD = 0.02  # image steps that one image in one step of a head takes, likewise
STEP = 6.0  # image steps that a step of a head takes on top, however few its images


@dataclass(frozen=True, kw_only=True)
class PrivateRecipe:
    """DP-SGD of one head (after Tramèr and Boneh 2021: big batches, a high rate, few epochs)."""

    steps: int = 120
    sample_rate: float = 0.16  # chance of each image to be in a step's batch
    clip: float = 0.5  # norm of a per-example gradient
    lr: float = 32.0  # falls linearly to 0
    momentum: float = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Private:
    """How many private models are right.

    Attributes:
        right: (G, N) int64, number of models at each epsilon that classify each image correctly,
            from the largest epsilon (the mildest privacy) to the smallest.
        models: number of models at each epsilon.
        parameters: epsilons, delta, noise and accuracy of each level, recipe, device, JSON-able.
    """

    right: npt.NDArray[np.int64]
    models: int
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """Ninety heads.

    Raises:
        OptionError: Opacus is not installed.
        DataError: a label is missing, there are 100,000 images or more, they are below 4 pixels or
            all alike.
    """
    _check(data)
    recipe = PrivateRecipe()
    jobs = [(level, model) for level in range(len(EPSILONS)) for model in range(MODELS)]
    names = job_names(
        jobs,
        data,
        settings,
        kind="private",
        trainer=TRAINER,
        epsilons=EPSILONS,
        delta=DELTA,
        recipe=asdict(recipe),
        opacus=version("opacus"),
    )
    trained = recipe.steps * _step_work(recipe, len(data))
    return Plan(
        what=f"{len(jobs)} linear heads by DP-SGD on {gabor.WIDTH:,} features ({MODELS} each at "
        f"epsilon {EPSILONS[-1]:g} to {EPSILONS[0]:g}, delta {DELTA:g}, {recipe.steps} steps of "
        f"about {recipe.sample_rate * len(data):,.0f} images); the scores themselves are not "
        "private",
        work=dict.fromkeys(jobs, trained + ENCODING * len(data) / len(jobs)),
        names=names,
    )


def make(data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]) -> Private:
    """Train (or load) the heads on `data` and count those that are right."""
    device, _ = settings.place()
    recipe = PrivateRecipe()
    features, noise, encoding = torch.empty(0), dict.fromkeys(EPSILONS, 0.0), 0.0
    if not (settings.cache and all(load_arrays(name) for name in plan.names.values())):
        start = time.perf_counter()
        features = _features(data, settings).to(device)
        encoding = time.perf_counter() - start
        with _without_false_alarms():
            noise = {epsilon: noise_multiplier(epsilon, recipe) for epsilon in EPSILONS}
    labels = torch.tensor(data.labels, device=device)

    def train(job: Job, advance: Advance) -> Arrays:
        level, model = job
        advance(ENCODING * len(data) / len(plan.work))
        head, spent = train_private(
            features,
            labels,
            n_classes=data.n_classes,
            noise=noise[EPSILONS[level]],
            recipe=recipe,
            seed=torch_seed(settings.seed, "private head", level, model),
            advance=lambda steps: advance(steps * _step_work(recipe, len(data))),
        )
        with torch.inference_mode():
            right = head(features).argmax(dim=1) == labels
        return {
            "right": np.packbits(right.cpu().numpy()),
            "epsilon": np.array(spent),
            "noise": np.array(noise[EPSILONS[level]]),
            "encoding": np.array(encoding / len(plan.work)),  # its share of the features' seconds
        }

    with _without_false_alarms():
        finished = run_jobs("private", plan, train, settings)
    part = _count(finished, len(data), {**asdict(recipe), "device": device_name(device)})
    settings.say(
        "private: accuracy "
        + ", ".join(
            f"{accuracy:.1%} at epsilon {epsilon:g}"
            for epsilon, accuracy in zip(EPSILONS, part.parameters["accuracy"], strict=True)
        )
    )
    return part


def noise_multiplier(epsilon: float, recipe: PrivateRecipe) -> float:
    """The least noise (to 1 % of epsilon) with which training spends at most `epsilon`."""
    from opacus.accountants.utils import get_noise_multiplier

    found = get_noise_multiplier(
        target_epsilon=epsilon,
        target_delta=DELTA,
        sample_rate=recipe.sample_rate,
        steps=recipe.steps,
        accountant="rdp",
        epsilon_tolerance=epsilon / 100,
        alphas=ORDERS,
    )
    return float(found)


def train_private(
    features: Tensor,
    labels: Tensor,
    *,
    n_classes: int,
    noise: float,
    recipe: PrivateRecipe,
    seed: int,
    advance: Advance,
) -> tuple[nn.Linear, float]:
    """Train one head by DP-SGD, from zero weights.

    Args:
        features: (N, D) float, each row made from its own image only.
        labels: (N,) int64 on the same device.
        n_classes: known beforehand, not read from the labels.
        noise: deviation of the noise on a sum of clipped gradients, in units of the clip norm.
        recipe: sampling, clipping and optimisation.
        seed: of sampling and noise.
        advance: told the number of steps done (1) after each.
    Returns:
        The head, (B, D) -> (B, C) logits, and the epsilon that it spent.
    """
    from opacus.accountants import RDPAccountant
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
    from opacus.utils.uniform_sampler import UniformWithReplacementSampler

    sampling = torch.Generator().manual_seed(seed)
    noising = torch.Generator(features.device).manual_seed(seed ^ 1)
    head = _zero_head(features, n_classes)
    model = GradSampleModuleFastGradientClipping(head, max_grad_norm=recipe.clip)
    descent = torch.optim.SGD(head.parameters(), lr=recipe.lr, momentum=recipe.momentum)
    optimiser = DPOptimizerFastGradientClipping(
        descent,
        noise_multiplier=noise,
        max_grad_norm=recipe.clip,
        expected_batch_size=recipe.sample_rate * len(features),
        generator=noising,
    )
    accountant = RDPAccountant()
    optimiser.attach_step_hook(accountant.get_optimizer_hook_fn(recipe.sample_rate))
    loss = DPLossFastGradientClipping(model, optimiser, nn.CrossEntropyLoss())
    schedule = torch.optim.lr_scheduler.LambdaLR(descent, lambda step: 1 - step / recipe.steps)
    for batch in UniformWithReplacementSampler(  # Poisson sampling, by its older name
        num_samples=len(features),
        sample_rate=recipe.sample_rate,
        steps=recipe.steps,
        generator=sampling,
    ):
        chosen = torch.tensor(batch, dtype=torch.int64, device=features.device)
        loss(model(features[chosen]), labels[chosen]).backward()
        optimiser.step()
        schedule.step()
        advance(1)
    model.to_standard_module()
    return head, float(accountant.get_epsilon(DELTA, alphas=ORDERS))


def _zero_head(features: Tensor, n_classes: int) -> nn.Linear:
    """A linear head of zero weights; no generator is asked for them."""
    head: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Linear,
        features.shape[1],
        n_classes,
        device=features.device,
        dtype=features.dtype,
    )
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def _check(data: ImageDataset) -> None:
    if find_spec("opacus") is None:
        raise OptionError(
            "priv trains with Opacus, which is not installed; pip install 'fmsel[dp]'"
        )
    if not data.labelled:
        raise DataError(
            f"{data.name} has images without a label, and private models train on labels; score a "
            "labelled data set"
        )
    if len(data) * DELTA >= 1:
        raise DataError(
            f"{data.name} has {len(data):,} images, and a delta of {DELTA:g} means nothing unless "
            f"it is below 1 / N; score fewer than {round(1 / DELTA):,} images"
        )
    gabor.filter_side(data.images.shape[1])
    if (data.images == data.images[0]).all():
        raise DataError(
            f"all images of {data.name} are the same, so there is nothing to learn from them; "
            "check the images"
        )


@contextmanager
def _without_false_alarms() -> Iterator[None]:
    """Silence what Opacus says of its own search and hooks; entered by one thread only."""
    with warnings.catch_warnings():
        # Noise tried in the search may be far too great, and the gradient of the input is not used.
        warnings.filterwarnings("ignore", "Optimal order is the largest alpha")
        warnings.filterwarnings("ignore", "Full backward hook is firing")
        yield


def _step_work(recipe: PrivateRecipe, count: int) -> float:
    """Image steps that one step of a head on `count` images takes."""
    return recipe.sample_rate * count * HEAD + STEP


def _features(data: ImageDataset, settings: Settings) -> Tensor:
    device, _ = settings.place()
    with progress_bar("Gabor features", len(data)) as advance:
        found = gabor.encode(data.images, seed=settings.seed, device=device, advance=advance)
    return torch.from_numpy(found)


def _count(finished: Finished, count: int, parameters: dict[str, Any]) -> Private:
    right = np.zeros((len(EPSILONS), count), np.int64)
    spent, noise = np.zeros(len(EPSILONS)), np.zeros(len(EPSILONS))
    encoding = 0.0
    for (level, _), outputs in finished.arrays.items():
        encoding += float(outputs.get("encoding", 0))  # not there in caches of before 2026-12
        right[level] += np.unpackbits(outputs["right"], count=count)
        spent[level], noise[level] = outputs["epsilon"], outputs["noise"]
    return Private(
        right=right,
        models=MODELS,
        parameters={
            **parameters,
            "epsilons": list(EPSILONS),
            "delta": DELTA,
            "models": MODELS,
            "epsilons_spent": [round(each, 4) for each in spent.tolist()],
            "noise_multipliers": [round(each, 4) for each in noise.tolist()],
            "accuracy": [round(each, 4) for each in (right.mean(axis=1) / MODELS).tolist()],
            "accountant": "Renyi (RDP)",
            "features": f"gabor, {gabor.WIDTH}",
            "opacus": version("opacus"),
            "models_from_cache": finished.from_cache,
            "compute_seconds": round(finished.seconds + encoding, 1),
        },
    )
