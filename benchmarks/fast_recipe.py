"""Which recipe learns most in few steps? Candidates for a preset `fast`, without test data.

    python benchmarks/fast_recipe.py DATASET --out FOLDER [--data-root DIR] [--preset paper]
        [--arch …] [--batch 64] [--steps 20000] [--seeds 1] [--labels 250] [--rules fixed,…]
        [--schedules fixmatch,sgdr]

A tenth of the training images, with their labels, judges; the others are the training set, of
which `--labels`, equally many a class, have labels. Trains every rule with every schedule (sgdr:
one cosine down to 0; fixmatch: the paper's, down to a fifth), each seed with another choice of
labels, and prints the accuracies. Finished runs are kept and stopped ones go on, so it may be
called again. On a CPU take `--preset cpu`.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmsel.artefacts import write_json
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.datasets.images.cut import stratified_cut
from fmsel.fixmatch.presets import configure
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.job import Job, Options, describe
from fmsel.fixmatch.run.loop import train_jobs
from fmsel.fixmatch.run.record import CONFIG, SUMMARY
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import make_split

JUDGING = 0.1  # share of the training images of each class
RULES = ("fixed", "adamatch", "freematch", "softmatch", "flexmatch")
SCHEDULES = ("fixmatch", "sgdr")


def part_of(data: ImageDataset, mask: npt.NDArray[np.bool_]) -> ImageDataset:
    return replace(data, images=data.images[mask], labels=data.labels[mask], ids=data.ids[mask])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--arch")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--labels", type=int, default=250)
    parser.add_argument("--rules", default=",".join(RULES))
    parser.add_argument("--schedules", default=",".join(SCHEDULES))
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    whole = load_dataset(args.dataset, data_root=args.data_root)
    judging = stratified_cut(whole.labels, JUDGING, seed=0)
    data, judges = part_of(whole, ~judging), part_of(whole, judging)
    options = Options(device=args.device)
    accuracy: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        split = make_split(data, RandomStratified(), batch_size=args.labels, seed=seed)
        for rule in args.rules.split(","):
            for schedule in args.schedules.split(","):
                config = configure(
                    args.preset,
                    data.images.shape[1],
                    args.device,
                    {
                        "steps": args.steps,
                        "rule": rule,
                        "schedule": schedule,
                        "arch": args.arch,
                        "batch": args.batch,
                    },
                )
                out = args.out / "runs" / f"{rule}-{schedule}-{seed}"
                job = Job(split=split, out=out, seed=seed, resume=(out / CONFIG).exists())
                wanted = describe(job, data, judges, config, options)
                if not RunFolder(out).finished_as(wanted):  # one of another recipe is refused
                    list(train_jobs([job], data, judges, config, options))
                summary = json.loads((out / SUMMARY).read_text())
                accuracy.setdefault(f"{rule}, {schedule}", []).append(summary["accuracy"])
                print(f"seed {seed}, {rule}, {schedule}: {summary['accuracy']:.2%}", flush=True)
    for name, values in sorted(accuracy.items(), key=lambda item: -np.mean(item[1])):
        spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
        print(f"{name}: {100 * np.mean(values):.1f}{spread} % (n = {len(values)})")
    recipe = ("dataset", "preset", "arch", "batch", "steps", "labels")
    facts = {name: getattr(args, name) for name in recipe}
    write_json(args.out / "fast_recipe.json", {**facts, "accuracy": accuracy}, force=True)


if __name__ == "__main__":
    main()
