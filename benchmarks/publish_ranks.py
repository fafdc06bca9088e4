"""Turn a scores file into the 16-bit rankings that come with fmsel (`fmsel score --published`).

python benchmarks/publish_ranks.py scores/cifar10.npz --provenance "who, when, on what" --force
"""

import argparse
from pathlib import Path

from fmsel.metrics.scores import Scores
from fmsel.metrics.scores.published import FOLDER, publish


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", type=Path)
    parser.add_argument("--provenance", required=True, help="one sentence")
    parser.add_argument("--force", action="store_true", help="replace the published file")
    args = parser.parse_args()
    scores = Scores.load(args.scores)
    path = FOLDER / f"{scores.dataset['dataset']}.npz"
    publish(scores, path, args.provenance, args.force)
    print(f"wrote {path}: {len(scores.arrays)} rankings of {len(scores):,} images")


if __name__ == "__main__":
    main()
