"""Finding what a split is made from: the images, and the scores where they are needed."""

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
    scores_path: Path | None = None,
) -> tuple[ImageDataset, Scores | None, str]:
    """The train part to choose from, the scores, and the name of the scores' file.

    Scores tell where their images lie, so `dataset` is needed only without them.

    Raises:
        ArtefactError: scores that are missing, ambiguous or broken.
        DataError: the images cannot be read.
        OptionError: neither scores nor a data set.
    """
    if resize is not None and dataset is None:
        raise OptionError("--resize goes with --dataset; scores remember the size of their images")
    if dataset is not None and not needs_scores:
        return load_dataset(dataset, data_root=data_root, resize=resize), None, ""
    if not needs_scores and scores_path is None and not any(SCORES_FOLDER.glob("*.npz")):
        raise OptionError(
            f"there are no scores in {SCORES_FOLDER}/ that tell which images to choose from; "
            "name the data set with --dataset"
        )
    path = scores_path or only_scores_file()
    scores = Scores.load(path)
    if dataset is not None:
        data = load_dataset(dataset, data_root=data_root, resize=resize)
    else:
        data = load_dataset(Source.from_dict(scores.dataset["source"]), data_root=data_root)
    return data, scores, path.name


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
        if scores.dataset["images_sha256"] != split.images_sha256:
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
    return scores if scores.dataset["images_sha256"] == split.images_sha256 else None
