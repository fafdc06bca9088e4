"""From a data set and a strategy to a `Split`."""

import json
from dataclasses import asdict
from typing import Any

from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError
from fmsel.metrics.scores import Scores
from fmsel.selection.pool import Pool, Strategy, strategy_class
from fmsel.selection.split.artefact import Split, class_counts


def make_split(
    data: ImageDataset,
    strategy: Strategy,
    *,
    batch_size: int,
    seed: int = 0,
    scores: Scores | None = None,
    scores_file: str = "the scores",
) -> Split:
    """Choose `batch_size` images of `data`.

    Args:
        data: the train part.
        strategy: an inhabitant of `fmsel.selection`.
        batch_size: labels in all, over every class.
        seed: of the choice; 0 or more.
        scores: what strategies that read metrics rank by.
        scores_file: how errors and the split's provenance call the scores.
    Raises:
        ArtefactError: the scores belong to other images or other labels.
        BudgetError, DataError, OptionError: as `Strategy.query`.
    """
    if scores is not None:
        scores.check(data, scores_file)
    pool = Pool(
        n=len(data),
        class_names=data.class_names,
        scores=scores.arrays if scores is not None else {},
    )
    indices = strategy.query(pool, batch_size=batch_size, seed=seed, truth=data.labels)
    provenance = {}
    if scores is not None and strategy.metrics:
        provenance = _provenance(scores, data, strategy.metrics, scores_file)
    return Split(
        dataset=data.name,
        source=data.source.as_dict(),
        n=len(data),
        images_sha256=data.images_sha256,
        labels_sha256=data.labels_sha256,
        strategy=strategy.name,
        parameters=as_parameters(strategy),
        seed=seed,
        indices=indices.tolist(),
        label_use=strategy.LABEL_USE,
        class_counts=class_counts(data, indices),
        provenance=provenance,
    )


def as_parameters(strategy: Strategy) -> dict[str, Any]:
    """The parameters of a strategy as a split's file holds them: tuples have become lists."""
    return dict(json.loads(json.dumps(asdict(strategy))))


def is_redrawn(split: Split) -> bool:
    """Whether chance chose the images, so that every replicate has a draw of its own.

    Not where people gave labels: they gave them for these images only.
    """
    if split.strategy == "imported" or split.labels is not None:
        return False
    return strategy_class(split.strategy).RANDOM


def redraw(split: Split, data: ImageDataset, seed: int) -> Split:
    """The same random choice with another seed; a split that chance did not make is returned.

    Raises:
        ArtefactError: `data` is not what the split was made for, or its parameters are unknown.
    """
    if not is_redrawn(split):
        return split
    split.check(data, f"the {split.strategy} split")
    try:
        strategy = strategy_class(split.strategy)(**split.parameters)
    except TypeError as error:
        raise ArtefactError(
            f"the parameters of the {split.strategy} split do not fit its strategy ({error}); "
            "make the split again with `fmsel split`"
        ) from error
    return make_split(data, strategy, batch_size=len(split), seed=seed)


def _provenance(
    scores: Scores, data: ImageDataset, metrics: tuple[str, ...], scores_file: str
) -> dict[str, Any]:
    """What was read of the scores; refuses a metric that read other labels than `data` has."""
    used = {name: scores.records[name] for name in metrics}
    for name, record in used.items():
        if record.label_use != "none" and record.labels_sha256 != data.labels_sha256:
            raise ArtefactError(
                f"{scores_file}: {name} was computed with other labels than these of {data.name} "
                f"(their sha256 differ); run `fmsel score {data.source.dataset}` again"
            )
    arrays = {
        name: {"sha256": record.sha256, "label_use": record.label_use}
        for name, record in used.items()
    }
    return {"scores": scores_file, "arrays": arrays}
