"""Does FixMatch need the gradient through its weak views?

    python benchmarks/weak_gradient.py [DATASET] --out FOLDER [--data-root DIR] [--labels 40]
        [--seeds N] [--preset cpu] [--steps K] [--arch NAME]

Trains every seed with and without `weak_gradient`, on the same random labels, and prints both means
and their difference, seed by seed, with its paired 95 % interval. Digits by default: about a minute
a seed on 2 cores. Finished runs are kept and stopped ones go on, so it may be called again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import ttest_rel

from fmsel.artefacts import write_json
from fmsel.datasets import load_dataset
from fmsel.experiments.replicates import plan_replicates, train_replicates
from fmsel.fixmatch.presets import configure
from fmsel.fixmatch.run.job import Options
from fmsel.fixmatch.run.record import SUMMARY
from fmsel.selection.random import Random
from fmsel.selection.split import make_split

FIRST_SEED = 200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("dataset", nargs="?", default="digits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--labels", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--steps", type=int, help="(default: the preset's)")
    parser.add_argument("--arch", help="(default: the preset's)")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    if args.seeds < 2:
        parser.error("a difference has an interval from two seeds on; use a larger --seeds")
    data, test = (
        load_dataset(args.dataset, part, data_root=args.data_root) for part in ("train", "test")
    )
    split = make_split(data, Random(), batch_size=args.labels, seed=FIRST_SEED)
    given = {"steps": args.steps, "arch": args.arch}
    recipe = configure(args.preset, data.images.shape[1], args.device, given)
    arms: dict[str, list[float]] = {}
    for name, folder, weak_gradient in (
        ("exact", "exact", True),
        ("weak views alone", "alone", False),
    ):
        planned = plan_replicates(
            split, data, name=folder, seed=FIRST_SEED, count=args.seeds, root=args.out / "runs"
        )
        config = replace(recipe, weak_gradient=weak_gradient)
        again = planned[0].out.exists()
        options = Options(device=args.device)
        for _ in train_replicates(planned, data, test, config, options, resume=again):
            pass
        summaries = [json.loads((each.out / SUMMARY).read_text()) for each in planned]
        arms[name] = [each["accuracy"] for each in summaries]
        mean, sd = 100 * np.mean(arms[name]), 100 * np.std(arms[name], ddof=1)
        print(f"{name}: {mean:.1f} ± {sd:.1f} % (n = {len(arms[name])})", flush=True)
    pairs = 100 * (np.array(arms["weak views alone"]) - np.array(arms["exact"]))
    interval = ttest_rel(arms["weak views alone"], arms["exact"]).confidence_interval(0.95)
    print(
        f"weak views alone, over exact: {pairs.mean():+.1f} points "
        f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}], pair by pair {pairs.round(1)}"
    )
    facts = {name: getattr(args, name) for name in ("dataset", "labels", "preset", "steps", "arch")}
    write_json(
        args.out / "weak_gradient.json",
        {**facts, "seed": FIRST_SEED, "accuracy": arms},
        force=True,
    )


if __name__ == "__main__":
    main()
