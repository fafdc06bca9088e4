"""What answers mean: which image of a split, which class, and which of several counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from fmsel.datasets import ImageDataset
from fmsel.datasets.images.dataset import UNKNOWN
from fmsel.errors import ArtefactError
from fmsel.labeling.answers import NO_CLASS, SHOWN, SKIP, Answer, Answers, check_mistakes, listed
from fmsel.selection.split import Split

LIKENESS = 0.5  # of a class name that an error proposes; 1 = equal


@dataclass(frozen=True)
class Vote:
    """An answer, and the class that it means."""

    answer: Answer
    label: int  # UNKNOWN = none


class NoClassError(ArtefactError):
    """A choice that is the name of no class."""


def latest_votes(split: Split, data: ImageDataset, answers: Answers) -> dict[int, dict[str, Vote]]:
    """Position in the split -> annotator -> the last answer.

    Raises:
        ArtefactError: of all answers that mean nothing, or the first `SHOWN`.
    """
    places = {index: place for place, index in enumerate(split.indices)}
    ids = {str(data.ids[index]): index for index in split.indices}
    votes: dict[int, dict[str, Vote]] = {}
    mistakes, mend = list[str](), ""
    for answer in answers.answers:
        try:
            place = places[_index(answer, split, data, places, ids)]
            _add(votes.setdefault(place, {}), Vote(answer, _label(answer.choice, data)))
        except ArtefactError as error:
            mistakes.append(f"{answer.where}: {error}")
            if isinstance(error, NoClassError):
                mend = f"; the classes are {listed(data.class_names)}"
            if len(mistakes) > SHOWN:
                break
    check_mistakes(answers.source, mistakes, mend)
    return votes


def no_class(choice: str) -> str:
    """A choice as `SKIP` and `NO_CLASS` are written."""
    return choice.strip().casefold() or SKIP


def _add(of_image: dict[str, Vote], vote: Vote) -> None:
    """Let a vote in, unless a later one of the same annotator is there."""
    answer = vote.answer
    earlier = of_image.get(answer.annotator)
    if earlier is None or _is_later(vote, earlier):
        of_image[answer.annotator] = vote


def _is_later(vote: Vote, other: Vote) -> bool:
    """Whether this answer of the same annotator replaces the other one."""
    new, old = vote.answer, other.answer
    if new.annotator and new.time is not None and old.time is not None:
        return new.time >= old.time
    if vote.label == other.label:  # a row that was repeated
        return False
    who = new.annotator or "an unnamed annotator"
    mend = "and no time tells which is the later; remove one"
    if not new.annotator:
        mend = "so name the annotators, or remove one"
    raise ArtefactError(f"{who} answered otherwise about this image before ({old.where}), {mend}")


def _index(
    answer: Answer,
    split: Split,
    data: ImageDataset,
    places: Mapping[int, int],
    ids: Mapping[str, int],
) -> int:
    """The image that an answer is about."""
    if answer.dataset not in (None, split.dataset):
        raise ArtefactError(f"an image of {answer.dataset}, but the split is of {split.dataset}")
    if answer.index is None:
        name = answer.id or ""
        if name in ids:
            return ids[name]
        raise ArtefactError(f"no image of the split has the id {name!r}{_guess(name, list(ids))}")
    if answer.index not in places:
        raise ArtefactError(f"image {answer.index} is not among the split's {len(places)} images")
    known = str(data.ids[answer.index])
    if answer.id not in (None, known):
        raise ArtefactError(
            f"image {answer.index} of {data.name} has the id {known!r}, not {answer.id!r}; the "
            "answers may be of another data set, or their columns sorted apart"
        )
    return answer.index


def _label(choice: str, data: ImageDataset) -> int:
    """The class of this name, or UNKNOWN for a skip."""
    names = data.class_names
    name = choice.strip()
    for exact in (choice, name):
        if exact in names:
            return names.index(exact)
    if no_class(choice) in (SKIP, *NO_CLASS):
        return UNKNOWN
    alike = [each for each in names if each.casefold() == name.casefold()]
    if len(alike) == 1:
        return names.index(alike[0])
    if alike:
        guess = f" (it may be {' or '.join(map(repr, alike))})"
    elif name.isascii() and name.isdigit() and len(name) < 6 and int(name) < len(names):
        guess = f" (labels are names, and class {name} is {names[int(name)]!r})"
    else:
        guess = _guess(name, names)
    raise NoClassError(f"{name!r} is no class of {data.name}{guess}")


def _guess(name: str, names: Sequence[str]) -> str:
    folded = {each.casefold(): each for each in names}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=LIKENESS)
    return f", did you mean {folded[close[0]]!r}" if close else ""
