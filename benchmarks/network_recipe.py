"""How well does one network of the scoring ensemble learn, and how well does it rank?

    python benchmarks/network_recipe.py DATASET [--data-root DIR] [--reference FILE[:NAME]]
        [--like cuda] [--set NAME=VALUE ...] [--seeds N] [--out FILE]

Trains a network by the recipe of `fmsel score` on one stratified half of the training images and
asks it about the other half: the share it gets right, and the rank correlation (Spearman) of the
probability of the given label with the reference. `--like cuda` takes the recipe that is used on a
GPU, also where there is none; `--set` changes it.
"""

import argparse
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from fmsel.artefacts import check_output, versions, write_json
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.metrics.evidence.network.folds import stratified_folds
from fmsel.metrics.evidence.network.predict import predict
from fmsel.metrics.evidence.network.recipe import Recipe, recipe_for
from fmsel.metrics.evidence.network.train import train_network
from fmsel.metrics.scores.reference import Reference, load_references
from fmsel.seeds import generator
from fmsel.training.engine.device import device_name, resolve_device, resolve_precision


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--reference", action="append", default=[], help="FILE or FILE:NAME")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--like", choices=("cpu", "cuda"), help="whose recipe (default: own)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seeds", type=int, default=1, help="0 to N - 1, a half and network each")
    parser.add_argument("--out", type=Path, help="a JSON file")
    args = parser.parse_args()
    if args.out:
        check_output(args.out)
    data = load_dataset(args.dataset, data_root=args.data_root)
    references = load_references(args.reference, data)
    device = resolve_device(args.device)
    recipe = changed(recipe_for(data, torch.device(args.like or device.type)), args.set)
    rows = []
    for seed in range(args.seeds):
        rows.append(measure(data, recipe, references, seed, device))
        print(rows[-1], flush=True)
    record = {
        "command": shlex.join(["python", "benchmarks/network_recipe.py", *sys.argv[1:]]),
        "images_sha256": data.images_sha256,
        "recipe": recipe.as_dict(),
        "seeds": rows,
        "device": device_name(device),
        "precision": resolve_precision("auto", device),
        "made_with": versions("torch", "scipy"),
    }
    if args.out:
        write_json(args.out, record)


def changed(recipe: Recipe, settings: list[str]) -> Recipe:
    """The recipe with some of its values replaced, each in the type of the old one."""
    new = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if not hasattr(recipe, name):
            raise SystemExit(f"no {name} in a recipe; there are {', '.join(vars(recipe))}")
        new[name] = type(getattr(recipe, name))(value)
    return replace(recipe, **new)


def measure(
    data: ImageDataset,
    recipe: Recipe,
    references: list[Reference],
    seed: int,
    device: torch.device,
) -> dict[str, Any]:
    folds = stratified_folds(data.labels, 2, generator(seed, "network recipe"))
    held_out = np.flatnonzero(folds == 1)
    precision = resolve_precision("auto", device)
    start = time.perf_counter()
    model = train_network(
        data,
        train_on=np.flatnonzero(folds == 0),
        recipe=recipe,
        seed=seed,
        device=device,
        precision=precision,
        advance=lambda _: None,
    )
    predictions = predict(
        model, data, held_out, device=device, precision=precision, advance=lambda _: None
    )
    labels = data.labels[held_out]
    own = np.full(len(data), np.nan)
    own[held_out] = predictions[np.arange(len(held_out)), labels]
    row: dict[str, Any] = {
        "seed": seed,
        "heldout_accuracy": round(float((predictions.argmax(axis=1) == labels).mean()), 4),
        "seconds": round(time.perf_counter() - start, 1),
    }
    for each in references:
        mine = own[each.indices]
        asked = np.isfinite(mine)
        row[each.name] = round(float(spearmanr(mine[asked], each.values[asked]).statistic), 4)
    return row


if __name__ == "__main__":
    main()
