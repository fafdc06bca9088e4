"""Answers into the labels of a split: who may be right where people differ."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.datasets.images.dataset import UNKNOWN
from fmsel.errors import ArtefactError, OptionError
from fmsel.labeling.answers import SHOWN, Answers, check_classes
from fmsel.labeling.votes import Vote, latest_votes, no_class
from fmsel.selection.split import Split
from fmsel.selection.split.artefact import count_labels

Agreement = Literal["majority", "all"]
RECORD = "labels"  # of a split's provenance: a list, one entry for each source that was read
UNNAMED = "unnamed"


def apply_answers(
    split: Split,
    data: ImageDataset,
    answers: Answers,
    *,
    agreement: Agreement = "majority",
    relabel: bool = False,
) -> Split:
    """The split with the labels that people gave.

    Of one annotator's answers about an image the latest counts. An image gets the class that most
    annotators chose; where two classes tie it gets none. Skips, "unsure" and "none of these" are
    no votes; an image with nothing else keeps the label it had, or waits.

    Where the data set has all labels of the split, people label afresh: none of the data set's
    labels enters the result.

    Args:
        split: of `data`; labels that it has from people stay.
        agreement: "all" leaves an image without a label unless all votes are for one class.
        relabel: let the answers replace labels that the split has; else a difference is an error.
    Returns:
        The same indices, with `labels`, their class counts, and an entry more in
        `provenance["labels"]`: the source, the number of images that every annotator gave a class,
        how many images were labelled, disagreed upon, skipped, labelled otherwise than before and
        neither labelled nor answered about, and how many answers of each kind were no class.
    Raises:
        ArtefactError: the split does not belong to `data`; answers about no image of the split, of
            no class, or two that differ of one annotator, told together; other labels than the
            split has.
        DataError: a data set without classes.
    """
    split.check(data, "the split")
    check_classes(data)
    if not len(answers):
        raise ArtefactError(f"{answers.source} holds no answers; fill in some labels first")
    votes = latest_votes(split, data, answers)
    held = _held_labels(split, data)
    agreed = {place: _agreed(list(each.values()), agreement) for place, each in votes.items()}
    new = {
        place: label for place, label in agreed.items() if label is not None and label != UNKNOWN
    }
    changed = [place for place, label in new.items() if held[place] not in (UNKNOWN, label)]
    if changed and not relabel:
        raise ArtefactError(_difference(split, data, answers, held, votes, new, changed))
    labels = held.copy()
    for place, label in new.items():
        labels[place] = label
    record = {
        **answers.record,
        "agreement": agreement,
        "annotators": _annotators(votes),
        "labelled": len(new),
        "disagreements": sum(label is None for label in agreed.values()),
        "skipped": sum(label == UNKNOWN for label in agreed.values()),
        "replaced": len(changed),
        "unanswered": sum(
            label == UNKNOWN and place not in votes for place, label in enumerate(held.tolist())
        ),
        "no_class": _counts_of_no_class(votes),
    }
    before = split.provenance.get(RECORD)
    return replace(
        split,
        labels=labels.tolist(),
        class_counts=count_labels(labels, data.class_names),
        provenance={
            **split.provenance,
            RECORD: [*(before if isinstance(before, list) else []), record],
        },
    )


def drop_unlabelled(split: Split) -> Split:
    """The split without its images that wait for a label, which nobody could give.

    The last entry of `provenance["labels"]` gets `dropped`, their indices.

    Args:
        split: of `apply_answers`.
    Raises:
        ArtefactError: no image has a label.
    """
    assert split.labels is not None  # by `apply_answers`
    kept = [place for place, label in enumerate(split.labels) if label != UNKNOWN]
    if not kept:
        raise ArtefactError(f"none of the split's {len(split)} images has a label")
    dropped = [
        index for index, label in zip(split.indices, split.labels, strict=True) if label == UNKNOWN
    ]
    records = split.provenance[RECORD]
    return replace(
        split,
        indices=[split.indices[place] for place in kept],
        labels=[split.labels[place] for place in kept],
        provenance={
            **split.provenance,
            RECORD: [*records[:-1], {**records[-1], "dropped": dropped}],
        },
    )


def parse_agreement(text: str) -> Agreement:
    """The rule of this name; OptionError names them."""
    if text not in get_args(Agreement):
        raise OptionError(f"agreement must be {' or '.join(get_args(Agreement))}, got {text!r}")
    return cast(Agreement, text)


def last_record(split: Split) -> Mapping[str, Any]:
    """What `apply_answers` noted of the source that it read last."""
    record: Mapping[str, Any] = split.provenance[RECORD][-1]
    return record


def _held_labels(split: Split, data: ImageDataset) -> npt.NDArray[np.int64]:
    """(M,) the labels before, -1 for none; a data set's only where it lacks some of them."""
    given = split.given_labels(data)
    if split.labels is None and (given != UNKNOWN).all():
        return np.full(len(split), UNKNOWN, dtype=np.int64)
    return given.copy()


def _agreed(votes: Sequence[Vote], agreement: Agreement) -> int | None:
    """The class that the votes give, UNKNOWN where none is for a class, None if they differ."""
    counts = Counter(vote.label for vote in votes if vote.label != UNKNOWN).most_common(2)
    if not counts:
        return UNKNOWN
    if len(counts) == 2 and (agreement == "all" or counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]


def _annotators(votes: Mapping[int, Mapping[str, Vote]]) -> dict[str, int]:
    """Images that each annotator gave a class, by name; also of those who only skipped."""
    counts: Counter[str] = Counter()
    for of_image in votes.values():
        for name, vote in of_image.items():
            counts[name or UNNAMED] += vote.label != UNKNOWN
    return dict(sorted(counts.items()))


def _counts_of_no_class(votes: Mapping[int, Mapping[str, Vote]]) -> dict[str, int]:
    """Answers that chose no class, by what they said."""
    said = (
        no_class(vote.answer.choice)
        for of_image in votes.values()
        for vote in of_image.values()
        if vote.label == UNKNOWN
    )
    return dict(sorted(Counter(said).items()))


def _difference(
    split: Split,
    data: ImageDataset,
    answers: Answers,
    held: npt.NDArray[np.int64],
    votes: Mapping[int, Mapping[str, Vote]],
    new: Mapping[int, int],
    changed: Sequence[int],
) -> str:
    """The sentence about images that have another label already; it shows `SHOWN` of them."""
    shown = []
    for place in changed[:SHOWN]:
        first = next(vote for vote in votes[place].values() if vote.label == new[place])
        shown.append(
            f"{first.answer.where}: image {split.indices[place]} is "
            f"{data.class_names[new[place]]!r} here and {data.class_names[held[place]]!r} in the "
            "split"
        )
    return (
        f"{answers.source}, {'; '.join(shown)} (differences in all: {len(changed)}); pass "
        "--relabel to take these answers"
    )
