"""Turn scores files into the 16-bit rankings that come with fmsel (`fmsel score --published`).

python benchmarks/publish_ranks.py scores/cifar10.npz --provenance "who, when, on what" --force

Of several files of the same images, a metric is taken from the last that has it.
"""

import argparse
from functools import reduce
from pathlib import Path

from fmsel.metrics.scores import Scores
from fmsel.metrics.scores.published import FOLDER, publish
from fmsel.metrics.scores.score import merge
from fmsel.metrics.scores.summary import made_with_other_labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", type=Path, nargs="+")
    parser.add_argument("--provenance", required=True, help="one sentence")
    parser.add_argument("--force", action="store_true", help="replace the published file")
    args = parser.parse_args()
    files = [Scores.load(path) for path in args.scores]
    if len({each.dataset["images_sha256"] for each in files}) > 1:
        parser.error("the files score different images")
    scores = reduce(merge, files)
    if others := made_with_other_labels(scores, scores.dataset["labels_sha256"]):
        parser.error(f"made with other labels: {', '.join(others)}")
    path = FOLDER / f"{scores.dataset['dataset']}.npz"
    publish(scores, path, args.provenance, args.force)
    print(f"wrote {path}: {len(scores.arrays)} rankings of {len(scores):,} images")


if __name__ == "__main__":
    main()
