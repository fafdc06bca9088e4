"""What does each metric make of images whose truth was planted? See `fmsel.experiments.planted`.

    python benchmarks/planted_truth.py [--metric M ...] [--seeds N] [--out FILE]

Scores digits with flipped labels, a rare submode, duplicates and blurred copies by every metric
there is, on every seed, and prints for each group the mean AUC (how often its images score lower
than plain ones) ± the sample standard deviation over seeds, with "yes" where every seed is as
expected of the metric and "NO" where one is not.
"""

import argparse
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fmsel.artefacts import check_output, versions, write_json
from fmsel.errors import FmselError
from fmsel.experiments.planted import EXPECTED, SHARES, Expected, group_aucs, planted_digits
from fmsel.metrics.evidence import Settings
from fmsel.metrics.scores.catalogue import check_metrics, metric_module
from fmsel.metrics.scores.score import score_dataset

Aucs = Mapping[str, Sequence[float]]  # group -> one AUC a seed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--metric", nargs="+", default=["all"], help="metrics or groups of them")
    parser.add_argument("--seeds", type=int, default=3, help="0 to N - 1")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="a JSON file")
    args = parser.parse_args()
    if args.out:
        check_output(args.out)
    console = Console(stderr=True)
    measured: dict[str, Aucs] = {}
    failed: dict[str, str] = {}
    for metric in check_metrics(args.metric):
        try:
            measured[metric] = measure(metric, args.seeds, args.device)
        except FmselError as error:
            failed[metric] = str(error)
            console.print(f"{metric} does not run: {error}", style="yellow", markup=False)
        else:
            means = {
                name: round(float(np.mean(aucs)), 3) for name, aucs in measured[metric].items()
            }
            console.print(f"{metric}: {means}", markup=False)
        if args.out:
            write_json(args.out, record(measured, failed, args.seeds), force=True)
    show(measured, args.seeds)


def measure(metric: str, seeds: int, device: str) -> Aucs:
    """The AUC of every group on each seed, which plants, trains and draws."""
    rows = []
    for seed in range(seeds):
        data, truth = planted_digits(seed)
        scores = score_dataset(data, [metric], Settings(seed=seed, device=device))
        rows.append(group_aucs(scores.array(metric), truth))
    return {name: [row[name] for row in rows] for name in SHARES}


def verdict(metric: str, group: str, aucs: Sequence[float]) -> bool | None:
    """Whether every seed is as expected; None where nothing is expected."""
    said = [EXPECTED.get(metric, Expected()).holds(group, auc) for auc in aucs]
    return None if None in said else all(said)


def show(measured: Mapping[str, Aucs], seeds: int) -> None:
    table = Table(title=f"AUC of low scores against plain images, digits, seeds 0 to {seeds - 1}")
    table.add_column("metric", no_wrap=True)
    table.add_column("labels")
    for name in SHARES:
        table.add_column(name, justify="right", no_wrap=True)
    words = {True: "yes", False: "NO", None: "  –"}
    for metric, groups in measured.items():
        cells = [
            f"{np.mean(aucs):.2f} ± {np.std(aucs, ddof=min(1, seeds - 1)):.2f} "
            f"{words[verdict(metric, name, aucs)]:3}"
            for name, aucs in groups.items()
        ]
        table.add_row(metric, metric_module(metric).LABEL_USE, *cells)
    Console(width=120).print(table)


def record(measured: Mapping[str, Aucs], failed: Mapping[str, str], seeds: int) -> dict[str, Any]:
    return {
        "command": "python benchmarks/planted_truth.py",
        "data": planted_digits(0)[0].describe() | {"seeds": seeds},
        "metrics": {
            metric: {
                group: {
                    "auc": [round(auc, 4) for auc in aucs],
                    "expected": getattr(EXPECTED.get(metric, Expected()), group),
                    "as_expected": verdict(metric, group, aucs),
                }
                for group, aucs in groups.items()
            }
            for metric, groups in measured.items()
        },
        "did_not_run": dict(failed),
        "machine": platform.processor() or platform.machine(),
        "made_with": versions("torch", "scikit-learn", "scipy"),
    }


if __name__ == "__main__":
    main()
