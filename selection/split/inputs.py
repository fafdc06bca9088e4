"""Finding what a split is made from: images, scores, embeddings, labels held, groups."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from fmsel.artefacts import check_output, read_json
from fmsel.datasets import ImageDataset, Source, load_dataset
from fmsel.embeddings.vectors import Embeddings
from fmsel.errors import ArtefactError, DataError, OptionError, OutputError
from fmsel.metrics.scores import Scores
from fmsel.selection.pool import IntArray, Strategy
from fmsel.selection.pool.strategy import HOW_TO_GET
from fmsel.selection.split.artefact import Split
from fmsel.selection.split.known import Known, embedded, first_use
from fmsel.selection.split.lists import joined, near_duplicates, read_groups, read_images

# Where `fmsel score` and `fmsel embed` write, seen from the working folder.
SCORES_FOLDER = Path("scores")
EMBEDDINGS_FOLDER = Path("embeddings")


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


def _images_of(described: Path) -> str | None:
    """The sha256 of the images that a JSON is about; None where it tells of none."""
    dataset = read_json(described, "description of embeddings").get("dataset")
    return dataset.get("images_sha256") if isinstance(dataset, Mapping) else None


def only_embeddings(data: ImageDataset, folder: Path = EMBEDDINGS_FOLDER) -> Path:
    """The one embeddings file of these images; ArtefactError where there is none, or several.

    Embeddings in shards are called by their .json.
    """
    found = [
        vectors if (vectors := path.with_suffix(".npy")).exists() else path
        for path in sorted(folder.glob("*.json"))
        if _images_of(path) == data.images_sha256
    ]
    if not found:
        raise ArtefactError(
            f"there are no embeddings of {data.name} in {folder}/; make them with `fmsel embed "
            f"{data.source.arguments()}`, or name a file with --embeddings"
        )
    if len(found) > 1:
        raise ArtefactError(
            f"{folder}/ holds several embeddings of {data.name} "
            f"({', '.join(each.name for each in found)}); name one with --embeddings"
        )
    return found[0]


def source_of(
    strategy: Strategy,
    *,
    dataset: str | None = None,
    run: Path | None = None,
    embeddings: Path | None = None,
    labeled: Path | None = None,
) -> Source | None:
    """Where the images lie by the first of the artefacts that a choice reads; None without any.

    Raises:
        ArtefactError: a file that is missing or broken; or nothing is named, and embeddings/ holds
            several files.
        DataError: the strategy reads a trained run, and none is named.
    """
    of_a_run = [each for each in strategy.NEEDS if each != "features"]
    if of_a_run and run is None:
        raise DataError(f"{strategy.name} needs {HOW_TO_GET[of_a_run[0]]}")
    if labeled is not None:
        return Source.from_dict(Split.load(labeled).source)
    if dataset is None and embeddings is None and run is None and "features" in strategy.NEEDS:
        there = sorted(EMBEDDINGS_FOLDER.glob("*.json"))
        if len(there) > 1:
            raise ArtefactError(
                f"{EMBEDDINGS_FOLDER}/ holds several embeddings "
                f"({', '.join(each.stem for each in there)}); name one with --embeddings, or the "
                "data set with --dataset"
            )
        embeddings = there[0] if there else None
    if embeddings is not None:
        described, what = embeddings.with_suffix(".json"), "description of embeddings"
    elif run is not None:
        described, what = run / "config.json", "run configuration"
    else:
        return None
    dataset = read_json(described, what).get("dataset")
    if not isinstance(dataset, Mapping) or not isinstance(dataset.get("source"), Mapping):
        raise ArtefactError(f"{described} does not say which images it is about; make it again")
    return Source.from_dict(dataset["source"])


def load_known(
    data: ImageDataset,
    strategy: Strategy,
    *,
    run: Known | None = None,
    embeddings: Path | None = None,
    labeled: Path | None = None,
    exclude: Path | None = None,
    groups: Path | None = None,
    duplicates: float | None = None,
) -> Known:
    """All that `make_split` may be told beside scores.

    Args:
        data: the train part.
        strategy: what it needs is searched for where it is not named.
        run: what a trained run says; its labels are held unless `labeled` names others.
        embeddings: a file; None = the run's features, or the only file of these images.
        labeled: a split of labels that are there already.
        exclude, groups: as `read_images` and `read_groups` take them.
        duplicates: the cosine from which on images count as near-duplicates, 0..1.
    Raises:
        ArtefactError: a file that is missing, ambiguous, broken or of other images.
        OptionError: a number out of range, or labels held that lack those the run learned from.
    """
    known = run or Known()
    wanted = "features" in strategy.NEEDS or duplicates is not None
    if embeddings is not None or (wanted and known.features is None):
        path = embeddings or only_embeddings(data)
        more = embedded(data, Embeddings.load(path), path.name)
        known = replace(
            known,
            features=more.features,
            label_use=first_use(known.label_use, more.label_use if wanted else "none"),
            provenance={**known.provenance, **more.provenance},
        )
    if labeled is not None:
        held = Split.load(labeled)
        held.check(data, str(labeled))
        if known.held is not None:
            _check_learned(known.held, held, labeled)
        known = replace(known, held=held)
    heeds = load_heeds(data, known, exclude, groups, duplicates)
    known = known.heeding(heeds)
    if labeled is not None:
        files = {"labeled": labeled.name, **heeds.provenance.get("files", {})}
        known = replace(known, provenance={**known.provenance, "files": files})
    return known


def load_heeds(
    data: ImageDataset,
    known: Known,
    exclude: Path | None = None,
    groups: Path | None = None,
    duplicates: float | None = None,
) -> Known:
    """What every choice has to heed, and no evidence.

    Args:
        data: the train part.
        known: with features by which near-duplicates are found, where `duplicates` asks for them.
        exclude, groups, duplicates: as `load_known` takes them.
    Raises:
        ArtefactError, OptionError: as `load_known`.
    """
    heeds = Known(groups=read_groups(groups, data) if groups is not None else None)
    if duplicates is not None:
        assert known.features is not None  # loaded by the caller
        alike = near_duplicates(np.asarray(known.features), duplicates)
        read = {name: known.provenance[name] for name in known.provenance if name == "embeddings"}
        heeds = Known(
            groups=alike if heeds.groups is None else joined(heeds.groups, alike),
            groups_label_use=known.label_use,
            provenance={**read, "near_duplicates": _counted(alike, duplicates)},
        )
    if exclude is not None:
        heeds = replace(heeds, excluded=read_images(exclude, data))
    named = {"exclude": exclude, "groups": groups}
    files = {option: path.name for option, path in named.items() if path is not None}
    return replace(heeds, provenance={**heeds.provenance, "files": files}) if files else heeds


def _counted(groups: IntArray, cosine: float) -> dict[str, float]:
    sizes = np.unique(groups, return_counts=True)[1]
    several = sizes[sizes > 1]
    return {"cosine": cosine, "images": int(several.sum()), "groups": len(several)}


def _check_learned(learned: Split, held: Split, where: Path) -> None:
    """A run that learned from labels which are not held would tell of them."""
    if strange := set(learned.indices) - set(held.indices):
        raise OptionError(
            f"the run learned from {len(strange)} labels that {where} does not hold, such as that "
            f"of image {min(strange)}; leave --labeled out, or name the split of that run"
        )


def load_inputs(
    *,
    needs_scores: bool,
    dataset: str | None = None,
    data_root: Path | None = None,
    resize: int | None = None,
    eval_fraction: float | None = None,
    offline: bool = False,
    scores_path: Path | None = None,
    source: Source | None = None,
) -> tuple[ImageDataset, Scores | None, str]:
    """The train part to choose from, the scores, and the name of the scores' file.

    Args:
        needs_scores: search for scores where none are named.
        dataset, data_root, resize, eval_fraction, offline: as for `load_dataset`.
        scores_path: tells where its images lie, so that `dataset` is needed only without it.
        source: where the images lie by another artefact; scores and `dataset` go before.
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
    if source is not None and not needs_scores and scores_path is None:
        return load_dataset(source, data_root=data_root, offline=offline), None, ""
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


def check_split_output(path: Path, data: ImageDataset, force: bool = False) -> None:
    """Refuse a file that is there; where it is a split of another data set, name both.

    Raises:
        OutputError: as `check_output`.
    """
    if path.exists() and not force:
        try:
            there = Split.load(path).dataset
        except ArtefactError:
            there = data.name
        if there != data.name:
            other = path.with_name(f"{data.name}-{path.name}")
            raise OutputError(
                f"{path} is a split of {there}, and this one is of {data.name}; pass --out {other} "
                "to have both, or --force to replace it"
            )
    check_output(path, force)


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


def matching_embeddings(
    split: Split, data: ImageDataset, path: Path | None = None
) -> Embeddings | None:
    """Embeddings of the split's images: the named file, that it was made from, or the only one.

    Args:
        data: the images.
        path: None = whichever is there.
    Raises:
        ArtefactError: the named file is unreadable or of other images.
    """
    if path is not None:
        embeddings = Embeddings.load(path)
        embeddings.check(data, str(path))
        return embeddings
    read = split.provenance.get("embeddings")
    name = str(read.get("file", "")) if isinstance(read, Mapping) else ""
    made_from = EMBEDDINGS_FOLDER / name
    try:
        there = made_from if made_from.is_file() else only_embeddings(data)
        return matching_embeddings(split, data, there)
    except ArtefactError:
        return None  # nobody named any: the split is shown without them


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
