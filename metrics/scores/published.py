"""Rankings of well-known data sets that come with fmsel: 16-bit ranks and where they are from.

`metrics/scores/published/NAME.npz` holds (M, N) ranks, 0 = the worst outlier, equal scores sharing
the lowest of their ranks, and a JSON header with the record of every metric. They belong to images
by data set name, number and labels, not by pixels: another copy of CIFAR-10 (JPEG files, say) has
the same images in the same order.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from fmsel.artefacts import atomic_path, sha256_array
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError, OptionError
from fmsel.metrics.scores.artefact import MetricRecord, Scores

FOLDER = Path(__file__).parent / "published"
RECOGNISED = ("dataset", "n", "images_sha256", "labels_sha256")  # not where they lay
MOST = 2**16  # images: 16 bits hold their ranks


def publish(scores: Scores, path: Path, provenance: str, force: bool = False) -> None:
    """Write the ranks of every metric, in the form that `published_scores` reads.

    Args:
        scores: of at most 65,536 images.
        path: where.
        provenance: one sentence: who made them, on what, by which command.
    Raises:
        OptionError: too many images.
        OutputError: the file is there already and `force` is false, or cannot be written.
    """
    if len(scores) > MOST:
        raise OptionError(
            f"16-bit ranks hold {MOST:,} images, and {scores.dataset['dataset']} has "
            f"{len(scores):,}; publish the scores file itself"
        )
    ranks = [rankdata(array, method="min") - 1 for array in scores.arrays.values()]
    header = {
        "dataset": {name: scores.dataset[name] for name in RECOGNISED},
        "records": {name: asdict(record) for name, record in scores.records.items()},
        "provenance": provenance,
    }
    with atomic_path(path, force) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, header=np.array(json.dumps(header)), ranks=np.array(ranks, dtype=np.uint16)
        )


def published_scores(data: ImageDataset, folder: Path | None = None) -> tuple[Scores, str]:
    """The published ranks of these images, as scores, and their provenance.

    Args:
        data: a train part.
        folder: where the published files lie; None = with fmsel.
    Returns:
        Scores whose arrays are ranks in 0..N-1, higher = more prototypical; their records are those
        of the scores that were ranked, but for the hash and `published`.
    Raises:
        OptionError: nothing is published for this data set.
        ArtefactError: the images' number or labels are not those that were ranked.
    """
    folder = folder or FOLDER
    path = folder / f"{data.name}.npz"
    if not path.exists():
        names = ", ".join(sorted(each.stem for each in folder.glob("*.npz"))) or "none"
        raise OptionError(
            f"no rankings of {data.name} are published with fmsel (there are those of: {names}); "
            f"make your own with `fmsel score {data.source.arguments()}`"
        )
    with np.load(path, allow_pickle=False) as file:
        header, ranks = json.loads(str(file["header"])), file["ranks"]
    there = header["dataset"]
    if there["n"] != len(data) or there["labels_sha256"] != data.labels_sha256:
        raise ArtefactError(
            f"the published rankings are of {there['n']} images of {there['dataset']}, and these "
            f"{len(data)} have other labels or another order; score them yourself, without "
            "--published"
        )
    arrays = dict(zip(header["records"], ranks.astype(np.float32), strict=True))
    records = {
        name: replace(
            MetricRecord(**record),
            sha256=sha256_array(arrays[name]),
            published=header["provenance"],
        )
        for name, record in header["records"].items()
    }
    scores = Scores(dataset=data.describe(), arrays=arrays, records=records)
    return scores, header["provenance"]
