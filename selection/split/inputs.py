"""Finding what a split is made from: the images, and the scores where they are needed."""

from collections.abc import Mapping
from pathlib import Path

from fmsel.datasets import ImageDataset, Source, load_dataset
from fmsel.errors import ArtefactError, OptionError
from fmsel.metrics.scores import Scores
from fmsel.selection.split.artefact import Split

SCORES_FOLDER = Path("scores")  # where `fmsel score` writes, seen from the working folder


def only_scores_file(folder: Path = SCORES_FOLDER) -> Path:
    """The one scores file of a folder; ArtefactError where there is none, or more than one."""
    found = sorted(folder.glob("*.npz"))
    if not found:
        raise ArtefactError(
            f"there are no scores in {folder}/; make them with `fmsel score DATASET`, "
            "or name a file with --scores"
        )
    if len(found) > 1:
        raise ArtefactError(
            f"{folder}/ holds several scores files ({', '.join(each.name for each in found)}); "
            "name one with --scores"
        )
    return found[0]


def load_inputs(
    *,
    needs_scores: bool,
    dataset: str | None = None,
    data_root: Path | None = None,
    resize: int | None = None,
    eval_fraction: float | None = None,
    offline: bool = False,
    scores_path: Path | None = None,
) -> tuple[ImageDataset, Scores | None, str]:
    """The train part to choose from, the scores, and the name of the scores' file.

    Scores tell where their images lie, so `dataset` is needed only without them.

    Raises:
        ArtefactError: scores that are missing, ambiguous or broken.
        DataError: the images cannot be read.
        OptionError: neither scores nor a data set.
    """
    for option, value in {"--resize": resize, "--eval-fraction": eval_fraction}.items():
        if value is not None and dataset is None:
            raise OptionError(f"{option} goes with --dataset; scores remember their images' own")

    def named(name: str) -> ImageDataset:
        share = Source.eval_fraction if eval_fraction is None else eval_fraction
        return load_dataset(
            name, data_root=data_root, resize=resize, eval_fraction=share, offline=offline
        )

    if dataset is not None and not needs_scores:
        return named(dataset), None, ""
    if not needs_scores and scores_path is None and not any(SCORES_FOLDER.glob("*.npz")):
        raise OptionError(
            f"there are no scores in {SCORES_FOLDER}/ that tell which images to choose from; "
            "name the data set with --dataset"
        )
    path = scores_path or only_scores_file()
    scores = Scores.load(path)
    if dataset is not None:
        return named(dataset), scores, path.name
    source = Source.from_dict(scores.dataset["source"])
    return load_dataset(source, data_root=data_root, offline=offline), scores, path.name


def load_split_data(
    split: Split,
    dataset: str | None = None,
    data_root: Path | None = None,
    resize: int | None = None,
) -> ImageDataset:
    """The train part that a split was made for, or the one named instead."""
    if dataset is not None:
        return load_dataset(dataset, data_root=data_root, resize=resize)
    return load_dataset(Source.from_dict(split.source), data_root=data_root)


def matching_scores(split: Split, scores_path: Path | None = None) -> Scores | None:
    """Scores of the split's images: the named file, the one it was made from, or the only one.

    Raises:
        ArtefactError: the named file is unreadable or scores other images.
    """
    if scores_path is not None:
        scores = Scores.load(scores_path)
        if not _same_images(scores, split):
            raise ArtefactError(
                f"{scores_path} scores images of {scores.dataset['dataset']} that are not those of "
                f"the split (their sha256 differ); name the scores of {split.dataset}"
            )
        return scores
    made_from = SCORES_FOLDER / str(split.provenance.get("scores", ""))
    try:
        scores = Scores.load(made_from if made_from.is_file() else only_scores_file())
    except ArtefactError:
        return None  # nobody named scores: the split is shown without them
    return scores if _same_images(scores, split) else None


def is_made_from(split: Split, scores: Scores) -> bool:
    """Whether every array that the split was made from is in `scores`, unchanged."""
    used = split.provenance.get("arrays")
    now = {name: record.sha256 for name, record in scores.records.items()}
    return not isinstance(used, Mapping) or all(
        isinstance(array, Mapping) and array.get("sha256") == now.get(name)
        for name, array in used.items()
    )


def _same_images(scores: Scores, split: Split) -> bool:
    return scores.dataset["images_sha256"] == split.images_sha256 and len(scores) == split.n
