"""Does FixMatch need the gradient through its weak views? Digits, 40 random labels, cpu preset.

    python benchmarks/weak_gradient.py --out FOLDER [--seeds N]

Trains every seed with and without `weak_gradient`, on the same splits, and prints both means and
their difference, seed by seed, with its paired 95 % interval. About a minute a seed on 2 cores.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import ttest_rel

from fmsel.artefacts import check_output, write_json
from fmsel.datasets import load_dataset
from fmsel.experiments.replicates import plan_replicates, train_replicates
from fmsel.fixmatch.presets import preset
from fmsel.fixmatch.run.job import Options
from fmsel.selection.random import Random
from fmsel.selection.split import make_split

LABELS, FIRST_SEED = 40, 200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    check_output(args.out / "weak_gradient.json")
    data, test = load_dataset("digits"), load_dataset("digits", "test")
    split = make_split(data, Random(), batch_size=LABELS, seed=FIRST_SEED)
    arms: dict[str, list[float]] = {}
    for name, weak_gradient in (("exact", True), ("weak views alone", False)):
        config = replace(preset("cpu", data.images.shape[1]), weak_gradient=weak_gradient)
        planned = plan_replicates(
            split,
            data,
            name="exact" if weak_gradient else "alone",
            seed=FIRST_SEED,
            count=args.seeds,
            root=args.out / "runs",
        )
        results = train_replicates(planned, data, test, config, Options(device=args.device))
        arms[name] = [summary["accuracy"] for _, summary in results]
        mean, sd = 100 * np.mean(arms[name]), 100 * np.std(arms[name], ddof=1)
        print(f"{name}: {mean:.1f} ± {sd:.1f} % (n = {len(arms[name])})", flush=True)
    pairs = 100 * (np.array(arms["weak views alone"]) - np.array(arms["exact"]))
    interval = ttest_rel(arms["weak views alone"], arms["exact"]).confidence_interval(0.95)
    print(
        f"weak views alone, over exact: {pairs.mean():+.1f} points "
        f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}], pair by pair {pairs.round(1)}"
    )
    write_json(args.out / "weak_gradient.json", {"seed": FIRST_SEED, "accuracy": arms})


if __name__ == "__main__":
    main()
