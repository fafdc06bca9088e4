"""Answers into the labels of a split: who may be right where people differ."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.datasets.images.dataset import UNKNOWN
from fmsel.errors import ArtefactError, OptionError
from fmsel.labeling.answers import NO_CLASS, SKIP, Answer, Answers, check_classes
from fmsel.selection.split import Split
from fmsel.selection.split.artefact import count_labels

Agreement = Literal["majority", "all"]
RECORD = "labels"  # of a split's provenance: a list, one entry for each source that was read
UNNAMED = "unnamed"
SHOWN = 10  # class names in an error
LIKENESS = 0.5  # of a class name that an error proposes; 1 = equal


@dataclass(frozen=True)
class Vote:
    """An answer, and the class that it means."""

    answer: Answer
    label: int  # UNKNOWN = none


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
        how many images were labelled, disagreed upon, skipped and labelled otherwise than before,
        and how many answers of each kind were no class.
    Raises:
        ArtefactError: the split does not belong to `data`; an answer about no image of the split,
            of no class, or given twice; other labels than the split has.
        DataError: a data set without classes.
    """
    split.check(data, "the split")
    check_classes(data)
    if not len(answers):
        raise ArtefactError(f"{answers.source} holds no answers; fill in some labels first")
    votes = _latest_votes(split, data, answers)
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


def _latest_votes(split: Split, data: ImageDataset, answers: Answers) -> dict[int, dict[str, Vote]]:
    """Position in the split -> annotator -> the last answer."""
    places = {index: place for place, index in enumerate(split.indices)}
    ids = {str(data.ids[index]): index for index in split.indices}
    votes: dict[int, dict[str, Vote]] = {}
    for answer in answers.answers:
        where = f"{answers.source}, {answer.where}"
        place = places[_index(answer, split, data, places, ids, where)]
        vote = Vote(answer, _label(answer.choice, data, where))
        of_image = votes.setdefault(place, {})
        earlier = of_image.get(answer.annotator)
        if earlier is None or _is_later(answer, earlier.answer, where):
            of_image[answer.annotator] = vote
    return votes


def _is_later(answer: Answer, other: Answer, where: str) -> bool:
    """Whether this answer of the same annotator replaces the other one."""
    who = answer.annotator or "an unnamed annotator"
    if not answer.annotator or answer.time is None or other.time is None:
        mend = "and no time tells which is the later; remove one"
        if not answer.annotator:
            mend = "so name the annotators, or remove one"
        raise ArtefactError(
            f"{where}: {who} answered about this image before ({other.where}), {mend}"
        )
    return answer.time >= other.time


def _index(
    answer: Answer,
    split: Split,
    data: ImageDataset,
    places: Mapping[int, int],
    ids: Mapping[str, int],
    where: str,
) -> int:
    """The image that an answer is about."""
    if answer.dataset not in (None, split.dataset):
        raise ArtefactError(
            f"{where}: an image of {answer.dataset}, but the split is of {split.dataset}"
        )
    if answer.index is None:
        name = answer.id or ""
        if name in ids:
            return ids[name]
        raise ArtefactError(
            f"{where}: no image of the split has the id {name!r}{_guess(name, list(ids))}"
        )
    if answer.index not in places:
        raise ArtefactError(
            f"{where}: image {answer.index} is not among the split's {len(places)} images"
        )
    known = str(data.ids[answer.index])
    if answer.id not in (None, known):
        raise ArtefactError(
            f"{where}: image {answer.index} of {data.name} has the id {known!r}, not "
            f"{answer.id!r}; the answers may be of another data set, or their columns sorted apart"
        )
    return answer.index


def _label(choice: str, data: ImageDataset, where: str) -> int:
    """The class of this name, or UNKNOWN for a skip."""
    names = data.class_names
    for name in (choice, choice.strip()):
        if name in names:
            return names.index(name)
    name = choice.strip()
    if _no_class(choice) in (SKIP, *NO_CLASS):
        return UNKNOWN
    if name.isascii() and name.isdigit() and len(name) < 6 and int(name) < len(names):
        guess = f" (labels are names, and class {name} is {names[int(name)]!r})"
    else:
        guess = _guess(name, names)
    more = ", …" if len(names) > SHOWN else ""
    raise ArtefactError(
        f"{where}: {name!r} is no class of {data.name}{guess}; the classes are "
        f"{', '.join(names[:SHOWN])}{more}"
    )


def _no_class(choice: str) -> str:
    """A choice as `SKIP` and `NO_CLASS` are written."""
    return choice.strip().casefold() or SKIP


def _guess(name: str, names: Sequence[str]) -> str:
    folded = {each.casefold(): each for each in names}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=LIKENESS)
    return f", did you mean {folded[close[0]]!r}" if close else ""


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
        _no_class(vote.answer.choice)
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
    """The sentence about images that have another label already; it shows the first of them."""
    place = changed[0]
    first = next(vote for vote in votes[place].values() if vote.label == new[place])
    return (
        f"{answers.source}, {first.answer.where}: image {split.indices[place]} is "
        f"{data.class_names[new[place]]!r} here and {data.class_names[held[place]]!r} in the "
        f"split (differences in all: {len(changed)}); pass --relabel to take these answers"
    )
