"""How quickly does an ensemble train: one after another, side by side, or stacked into one network?

    python benchmarks/ensemble_together.py [--networks N] [--steps N] [--device cuda] [--out FILE]

The same networks (those that `fmsel score` trains on the device) on random images of CIFAR-10's
size, three ways: one after another, with all threads; side by side, on a CPU one thread each, as
many at once as there are cores (what `fmsel score` does), on a GPU all at once, a stream each; and
stacked, with `torch.func`: one `vmap` of the gradient over the networks, whose convolutions torch
turns into grouped ones. Before the timing, the stacked gradients and running statistics are
compared with those of the networks by themselves, in fp32. The three take turns, so that all see
the same disturbances.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from fmsel.artefacts import check_output, versions, write_json
from fmsel.datasets import ImageDataset, Source, WeakAugment
from fmsel.metrics.evidence.jobs.run import job_threads
from fmsel.metrics.evidence.network.recipe import Recipe, recipe_for
from fmsel.metrics.evidence.network.train import forward, new_network, train_network
from fmsel.training.augment.weak import to_float, weak_augment
from fmsel.training.engine.device import (
    Precision,
    device_name,
    own_stream,
    resolve_device,
    resolve_precision,
)

CLASSES, SIDE = 10, 32
Weights = dict[str, Tensor]


def random_images(count: int) -> ImageDataset:
    rng = np.random.default_rng(0)
    return ImageDataset(
        name="random",
        source=Source(dataset="random"),
        part="train",
        images=rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8),
        labels=rng.integers(0, CLASSES, count),
        ids=np.arange(count).astype(str),
        class_names=tuple("0123456789"),
        weak=WeakAugment(),
    )


class Ensemble:
    """The networks, and three ways to train them; an epoch of `data` each."""

    def __init__(
        self, data: ImageDataset, recipe: Recipe, device: torch.device, precision: Precision
    ) -> None:
        self.data, self.recipe, self.device, self.precision = data, recipe, device, precision

    def train(self, seed: int) -> None:
        train_network(
            self.data,
            train_on=np.arange(len(self.data)),
            recipe=self.recipe,
            seed=seed,
            device=self.device,
            precision=self.precision,
            advance=lambda _: None,
        )

    def one_after_another(self, networks: int) -> None:
        for seed in range(networks):
            self.train(seed)

    def side_by_side(self, networks: int) -> None:
        if self.device.type == "cpu":
            with job_threads(self.device) as pool:
                list(pool.map(self.train, range(networks)))
            return

        def on_own_stream(seed: int) -> None:
            with own_stream(self.device)():
                self.train(seed)

        with ThreadPoolExecutor(networks) as pool:
            list(pool.map(on_own_stream, range(networks)))

    def gradients(
        self, weights: Weights, buffers: Weights, base: nn.Module, views: Tensor, labels: Tensor
    ) -> Weights:
        """Of each network on its own batch: `views` (M, B, 3, H, W), `labels` (M, B)."""

        def loss(weights: Weights, buffers: Weights, views: Tensor, labels: Tensor) -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, self.precision == "bf16"):
                logits = functional_call(base, (weights, buffers), (views,))
            return F.cross_entropy(
                logits.float(), labels, label_smoothing=self.recipe.label_smoothing
            )

        found: Weights = vmap(grad(loss))(weights, buffers, views, labels)
        return found

    def stacked(self, networks: int) -> None:
        models = self.models(networks)
        weights, buffers = stack_module_state(models)
        base = plain(models[0])
        optimiser = torch.optim.SGD(
            weights.values(),
            self.recipe.peak_lr,
            self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
            nesterov=True,
        )
        rng = torch.Generator().manual_seed(0)
        images, labels = self.tensors()
        policy = replace(self.data.weak, shift=self.data.weak.shift // 2)
        for _ in range(self.recipe.epochs):
            orders = torch.stack(
                [torch.randperm(len(labels), generator=rng) for _ in range(networks)]
            ).to(self.device)
            for batch in torch.split(orders, self.recipe.batch, dim=1):
                views = to_float(weak_augment(images[batch.flatten()], policy, rng))
                views = views.view(*batch.shape, *views.shape[1:])
                found = self.gradients(weights, buffers, base, views, labels[batch])
                for name, weight in weights.items():
                    weight.grad = found[name]
                optimiser.step()

    def models(self, networks: int) -> list[nn.Module]:
        return [new_network(self.data, self.recipe, seed, self.device) for seed in range(networks)]

    def tensors(self) -> tuple[Tensor, Tensor]:
        images = torch.tensor(self.data.images, device=self.device).permute(0, 3, 1, 2)
        return images, torch.tensor(self.data.labels, device=self.device)

    def largest_error(self) -> float:
        """Of stacked gradients and running statistics, relative to the norm of autograd's."""
        models = self.models(3)
        images, labels = self.tensors()
        views, labels = (x[:48].reshape(3, 16, *x.shape[1:]) for x in (to_float(images), labels))
        weights, buffers = stack_module_state(models)
        found = self.gradients(weights, buffers, plain(models[0]), views, labels)
        errors = []
        for i, model in enumerate(models):
            logits = forward(model, views[i], self.precision)
            smoothing = self.recipe.label_smoothing
            loss = F.cross_entropy(logits, labels[i], label_smoothing=smoothing)
            names, tensors = zip(*model.named_parameters(), strict=True)
            true = dict(zip(names, torch.autograd.grad(loss, tensors), strict=True))
            true |= {k: v for k, v in model.named_buffers() if v.is_floating_point()}
            for name, tensor in true.items():
                stacked = (found if name in found else buffers)[name][i].detach()
                errors.append(float((stacked - tensor).norm() / tensor.norm()))
        return max(errors)


def plain(model: nn.Module) -> nn.Module:
    """A copy whose batch norms take fp32: `vmap` refuses bf16 with fp32 statistics."""
    model = deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4, help="batches a network and turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    if args.out:
        check_output(args.out)
    device = resolve_device(args.device)
    precision = resolve_precision("auto", device)
    usual = recipe_for(random_images(8192), device)
    recipe = replace(usual, epochs=1)
    data = random_images(args.steps * recipe.batch)
    error = Ensemble(data, recipe, device, "fp32").largest_error()
    print(f"stacked: largest relative difference from autograd {error:.1e}", flush=True)
    ensemble = Ensemble(data, recipe, device, precision)
    arms: dict[str, Callable[[int], None]] = {
        "one after another": ensemble.one_after_another,
        "side by side": ensemble.side_by_side,
        "stacked": ensemble.stacked,
    }
    rates: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(-1, args.turns):
        for name, train in arms.items():
            seconds = timed(lambda train=train: train(args.networks), device)  # type: ignore[misc]
            if turn >= 0:  # the turn before them all is the warm-up
                rates[name].append(args.networks * len(data) / seconds)
    report(rates, error, recipe, device, precision, args)


def timed(train: Callable[[], None], device: torch.device) -> float:
    start = time.perf_counter()
    train()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def report(
    rates: dict[str, list[float]],
    error: float,
    recipe: Recipe,
    device: torch.device,
    precision: Precision,
    args: argparse.Namespace,
) -> None:
    first = statistics.median(next(iter(rates.values())))
    print(f"{device_name(device)}, {precision}; {args.networks} networks {recipe.arch}")
    figures: dict[str, Any] = {}
    for name, turns in rates.items():
        middle = statistics.median(turns)
        figures[name] = {"images_per_s": middle, "gain": middle / first, "turns": turns}
        print(f"{name}: {middle:,.0f} images/s, {middle / first:.2f} times the first")
    if args.out:
        facts = {"device": device_name(device), "precision": precision, "networks": args.networks}
        recipes = {"recipe": recipe.as_dict(), "steps": args.steps, "gradient_error": error}
        write_json(
            args.out, {**facts, **recipes, "figures": figures, "versions": versions("torch")}
        )


if __name__ == "__main__":
    main()
