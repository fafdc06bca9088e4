"""How well does each metric of a CIFAR-10 scores file rank? Two references that others made.

    python benchmarks/metric_quality.py scores/cifar10.npz --agreement FILE [--out FILE]

The figures of `fmsel scores report` as JSON, with the mean rank of the two preferred metrics:

1. The eight published FixMatch index sets (google-research/fixmatch, issue 16; 0 = outliers,
   7 = prototypes): Spearman of the set number with the within-class percentile of its 80 images,
   and the mean percentile of sets 0 and 7.
2. Human agreement (CIFAR-10N, Wei et al. 2022): Spearman of the score with the number of three
   annotators who gave the official label; and the lift: the share of images with two or more
   disagreements (the reference's lowest tenth, with ties) among the 1,000 lowest and highest
   scores, over the share among all.
"""

import argparse
import platform
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fmsel.artefacts import versions, write_json
from fmsel.datasets import Source, load_dataset
from fmsel.datasets.published.fixmatch_ordered import SETS
from fmsel.metrics.scores import PREFERRED, Scores, rank_average
from fmsel.metrics.scores.agreement import spearman_matrix
from fmsel.metrics.scores.quality import lift, sets_quality
from fmsel.metrics.scores.reference import load_reference


def judge(scores: np.ndarray, labels: np.ndarray, agree: np.ndarray) -> dict[str, float]:
    """The figures of one metric; `scores`, `labels` and `agree` are (N,)."""
    sets = sets_quality(scores, labels, SETS)
    lowest, highest = lift(scores, agree)
    return {
        "sets_spearman": sets.spearman,
        "set0_percentile": sets.first,
        "set7_percentile": sets.last,
        "agreement_spearman": float(spearman_matrix([scores, agree])[0, 1]),
        "lift_lowest": lowest,
        "lift_highest": highest,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("scores", type=Path)
    parser.add_argument("--agreement", required=True, help="npz: labels, agree (50000,)")
    parser.add_argument("--data-root", type=Path, help="if the images have moved")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    scores = Scores.load(args.scores)
    data = load_dataset(Source.from_dict(scores.dataset["source"]), data_root=args.data_root)
    scores.check(data, str(args.scores))
    reference = load_reference(args.agreement, data)
    if not SETS.matches(data) or len(reference.values) != len(data):
        raise SystemExit("the references are for all of CIFAR-10's training images, in its order")
    arrays: dict[str, np.ndarray] = dict(scores.arrays)
    if set(PREFERRED) <= arrays.keys():
        arrays[" + ".join(PREFERRED)] = rank_average([arrays[name] for name in PREFERRED])
    figures = {name: judge(array, data.labels, reference.values) for name, array in arrays.items()}
    show(figures)
    if args.out:
        write_json(args.out, record(scores, figures), force=True)


def show(figures: dict[str, dict[str, float]]) -> None:
    table = Table(title="quality of each metric on CIFAR-10 train, 50,000 images")
    table.add_column("metric")
    for name in next(iter(figures.values())):
        table.add_column(name.replace("_", " "), justify="right")
    for metric, row in figures.items():
        table.add_row(metric, *(f"{value:.3f}" for value in row.values()))
    Console().print(table)


def record(scores: Scores, figures: dict[str, dict[str, float]]) -> dict[str, Any]:
    evidence = {
        kind: {"seconds": record.evidence_seconds[kind], **parameters}
        for record in scores.records.values()
        for kind, parameters in record.parameters.items()
    }
    return {
        "command": "python benchmarks/metric_quality.py scores/cifar10.npz --agreement FILE",
        "images_sha256": scores.dataset["images_sha256"],
        "figures": figures,
        "evidence": evidence,
        "seconds": {name: record.seconds for name, record in scores.records.items()},
        "seeds": {name: record.seed for name, record in scores.records.items()},
        "machine": platform.processor() or platform.machine(),
        "made_with": {name: record.made_with for name, record in scores.records.items()},
        "measured_with": versions("scipy"),
    }


if __name__ == "__main__":
    main()
