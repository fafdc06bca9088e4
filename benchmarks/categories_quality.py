"""How many images of each category have a label that people doubt?

    python benchmarks/categories_quality.py scores/cifar10-categories.csv cifar10n-agreement.npz

The CSV is that of `fmsel scores categories`; the npz has `agree` (N,), how many of CIFAR-10N's
three annotators gave the official label. A label is doubtful where at most one did.
"""

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np

DOUBTED = 1  # of three annotators who agree, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("categories", type=Path)
    parser.add_argument("agreement", type=Path)
    args = parser.parse_args()
    with args.categories.open(encoding="utf-8", newline="") as file:
        category = np.array([row["category"] or "none" for row in csv.DictReader(file)])
    doubted = np.load(args.agreement)["agree"] <= DOUBTED
    for name, count in Counter(category.tolist()).most_common():
        print(f"{name}: {count:,} images, {doubted[category == name].mean():.1%} doubtful")
    print(f"all: {len(category):,} images, {doubted.mean():.1%} doubtful")


if __name__ == "__main__":
    main()
