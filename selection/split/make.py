"""From a data set and a strategy to a `Split`."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from fmsel.artefacts import sha256_array
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError
from fmsel.metrics.scores import Scores
from fmsel.selection.pool import Choice, Strategy, strategy_class, strategy_names
from fmsel.selection.split.artefact import (
    OUTLIERS,
    PROTOTYPES,
    Split,
    class_counts,
    count_labels,
)
from fmsel.selection.split.known import Known, first_use


def make_split(
    data: ImageDataset,
    strategy: Strategy,
    *,
    batch_size: int,
    seed: int = 0,
    scores: Scores | None = None,
    scores_file: str = "the scores",
    known: Known | None = None,
) -> Split:
    """Choose `batch_size` images of `data`, besides those that are labelled already.

    Args:
        data: the train part.
        strategy: an inhabitant of `fmsel.selection`.
        batch_size: new labels in all, over every class.
        seed: of the choice; 0 or more.
        scores: what strategies that read metrics rank by.
        scores_file: how errors and the split's provenance call the scores.
        known: embeddings, predictions, labels held and what else a strategy reads or heeds.
    Returns:
        The images held, where there are any, and then the new ones. Where people gave the labels
        of those held, the new ones wait for theirs (-1).
    Raises:
        ArtefactError: the scores or the held split belong to other images or other labels.
        BudgetError, DataError, OptionError: as `Strategy.query` and `Known.pool`.
    """
    known = known or Known()
    if scores is not None:
        scores.check(data, scores_file)
    strategy.check_data(data)
    pool = known.pool(data, scores.arrays if scores is not None else {})
    choice = strategy.choose(pool, batch_size=batch_size, seed=seed, truth=data.labels)
    new, held = choice.indices, known.held
    indices = new if held is None else np.concatenate([held.index_array, new])
    labels, counts = None, class_counts(data, indices)
    if held is not None and held.labels is not None:
        labels = [*held.labels, *[-1] * len(new)]
        counts = count_labels(np.array(labels), data.class_names)
    provenance = dict(known.provenance)
    if scores is not None and strategy.metrics:
        provenance |= _provenance(scores, data, strategy.metrics, scores_file)
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
        label_use=_label_use(strategy, known),
        class_counts=counts,
        labels=labels,
        ends=_ends(choice, held),
        provenance=provenance | restrictions(known),
    )


def _ends(choice: Choice, held: Split | None) -> dict[str, list[int]]:
    """The prototypes and outliers among the new images, after those among the images held."""
    ends = {name: list(images) for name, images in held.ends.items()} if held is not None else {}
    if choice.prototypes is not None:
        for name, which in ((PROTOTYPES, choice.prototypes), (OUTLIERS, ~choice.prototypes)):
            ends[name] = [*ends.get(name, []), *choice.indices[which].tolist()]
    return ends


def _label_use(strategy: Strategy, known: Known) -> str:
    """The first use of labels among the choice, the evidence that it reads, and the labels held."""
    reads = known.label_use if strategy.NEEDS else "none"
    held = known.held.label_use if known.held is not None else "none"
    return str(first_use(strategy.LABEL_USE, reads, known.groups_label_use, held))


def restrictions(known: Known) -> dict[str, Any]:
    """What a choice has to heed, as a split's provenance says it."""
    said: dict[str, Any] = {}
    if known.held is not None:
        said["labeled"] = {
            "sha256": known.held.sha256,
            "strategy": known.held.strategy,
            "labels": len(known.held),
        }
    if len(known.excluded):
        excluded = np.sort(known.excluded)
        said["excluded"] = {"images": len(excluded), "sha256": sha256_array(excluded)}
    if known.groups is not None:
        numbered = np.unique(known.groups, return_index=True, return_inverse=True)
        said["groups"] = {
            "number": len(numbered[0]),
            "sha256": sha256_array(numbered[1][numbered[2]]),  # by their first images
        }
    return said


def as_parameters(strategy: Strategy) -> dict[str, Any]:
    """The parameters of a strategy as a split's file holds them: tuples have become lists."""
    return dict(json.loads(json.dumps(asdict(strategy))))


def is_redrawn(split: Split) -> bool:
    """Whether chance chose the images, so that every replicate has a draw of its own.

    Not where people gave labels, which they gave for these images only; nor where other images
    were labelled, excluded or grouped, which the split does not hold.
    """
    restricted = {"labeled", "excluded", "groups"} & split.provenance.keys()
    if split.strategy not in strategy_names() or split.labels is not None or restricted:
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
