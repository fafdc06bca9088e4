"""People's labels for the rounds that wait: what is asked, and what the answers settle."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.datasets.images.dataset import UNKNOWN
from fmsel.errors import ArtefactError
from fmsel.experiments.loop.choose import check_two_classes
from fmsel.experiments.loop.folder import ASKED, LoopFolder
from fmsel.experiments.loop.pile import Pile, is_file, read_pile
from fmsel.experiments.loop.plan import Round, Stage
from fmsel.experiments.loop.setup import Setup
from fmsel.labeling import apply_answers, export_csv, export_label_studio
from fmsel.labeling.apply import last_record
from fmsel.selection.split import Split

SHOWN = 3  # tables in the sentence on what is awaited, and images in one on those skipped


@dataclass(frozen=True)
class Waiting:
    """A loop that cannot go on before people answer.

    Attributes:
        images: how many have no answer yet.
        tables: the files that name them, one a round; tasks of Label Studio lie beside each.
        answers: where answers are looked for beside the tables.
    """

    images: int
    tables: tuple[Path, ...]
    answers: Path

    def __str__(self) -> str:
        plural = "" if self.images == 1 else "s"
        tables = ", ".join(map(str, self.tables[:SHOWN]))
        if (more := len(self.tables) - SHOWN) > 0:
            tables += f" and {more} more in {self.tables[0].parents[2]}"
        place = f"as {self.answers}" if is_file(self.answers) else f"into {self.answers}/"
        return (
            f"waiting for the label{plural} of {self.images:,} image{plural}: write a class, or "
            f"skip, into the column label of {tables}, save, and give the same command to go on "
            f"(or label them on a page, `fmsel label {self._asked}, or the tasks beside, of the "
            f"same name in .json, with Label Studio and put its export {place})"
        )

    @property
    def _asked(self) -> str:
        """What a page is made of; one page a round."""
        if len(self.tables) > 1:
            return f"{ASKED}` beside each"
        return f"{shlex.quote(str(self.tables[0].with_name(ASKED)))}`"


def settle(
    setup: Setup,
    folder: LoopFolder,
    rounds: Iterable[Round],
    say: Callable[[str], None] = lambda line: None,
) -> Waiting | None:
    """Take the answers that are there; write out what waits for one.

    A round is settled once every image that it asked for was answered. Images whose answers give
    no class (skipped, unsure, or a tie) stay unlabelled; a class given later counts in the track's
    next round that is settled. An answer about an image serves all tracks.

    Args:
        rounds: those at the stage of labelling.
        say: told a line about each round that is settled.
    Returns:
        What is awaited; None when all of them are settled.
    Raises:
        ArtefactError: answers as `read_pile`; a round whose labels are of one class.
        OptionError, OutputError: a file of another format, or an output that cannot be written.
    """
    assert setup.answers is not None  # else no round awaits labels
    pile = find_answers(setup, folder)
    waiting, tables = set[int](), list[Path]()
    for each in rounds:
        asked = folder.asked(each)
        assert asked is not None  # by its stage
        labels = dict(zip(asked.indices, asked.labels or (), strict=True))
        new = [index for index in asked.indices if labels[index] == UNKNOWN]
        left = [index for index in new if index not in pile.of]
        if left:
            waiting.update(left)
            tables.append(_export(asked, setup.data, folder.table(each), left))
            continue
        late = _late(setup, folder, each, pile)
        settled = _settled(asked, setup.data, pile, each, new, late)
        folder.keep(each, settled)
        say(_summary(settled, setup.data, each, new, late))
    return Waiting(len(waiting), tuple(tables), setup.answers) if waiting else None


def find_answers(setup: Setup, folder: LoopFolder) -> Pile:
    """All answers about images of a loop with people's labels, from wherever they lie.

    Raises:
        ArtefactError, OptionError: as `read_pile`.
    """
    assert setup.answers is not None  # people's
    rounds = setup.plan.every
    asked = [found for each in rounds if (found := folder.asked(each)) is not None]
    beside = [place(each) for each in rounds for place in (folder.table, folder.journal)]
    return read_pile(setup.answers, beside, setup.data, asked)


def notes_on_answers(setup: Setup, folder: LoopFolder) -> list[str]:
    """What people should know of answers that were not used, a sentence each.

    Raises:
        ArtefactError, OptionError: as `read_pile`.
    """
    pile = find_answers(setup, folder)
    late = set[int]()
    for track in setup.plan.tracks:
        if folder.stage(track[-1]) is Stage.DONE:
            last = folder.split(track[-1])
            late.update(_classed(last, setup, pile, folder.skipped(track)))
    notes = [pile.note] if pile.note else []
    if late:
        notes.append(
            "too late for the last round: images that were skipped and have a class now "
            f"({len(late)}, {_names(sorted(late), setup.data)}); one more number at the end of "
            "--budgets makes use of them"
        )
    return notes


def _late(setup: Setup, folder: LoopFolder, each: Round, pile: Pile) -> list[int]:
    """Images that were skipped earlier in the track and have a class now.

    They may exceed the budget, but leave the next round something to ask for.
    """
    before = setup.plan.before(each)
    asked = folder.asked(each)
    assert asked is not None  # by its stage
    found = _classed(asked, setup, pile, folder.skipped(before))
    if each.number + 1 == len(setup.budgets):
        return found
    return found[: setup.budgets[each.number + 1] - 1 - len(asked)]


def _classed(like: Split, setup: Setup, pile: Pile, skipped: npt.NDArray[np.int64]) -> list[int]:
    """Those of the skipped images that have a class by now, and no other of their group in `like`.

    Args:
        like: the images of the track.
    """
    indices = [int(index) for index in skipped if index in pile.of]
    if not indices:
        return []
    split = replace(like, indices=indices, labels=[UNKNOWN] * len(indices))
    labels = _apply(split, setup.data, pile, indices).given_labels(setup.data)
    found = [index for index, label in zip(indices, labels, strict=True) if label != UNKNOWN]
    groups = setup.heeds.groups
    if groups is None:
        return found
    first = {groups[index]: index for index in reversed(found)}  # of several the first
    taken = set(groups[like.index_array])
    return [
        index for index in found if groups[index] not in taken and first[groups[index]] == index
    ]


def _apply(split: Split, data: ImageDataset, pile: Pile, indices: Iterable[int]) -> Split:
    """The split with what was answered about these of its images."""
    own = [answer for index in indices for answer in pile.of[index]]
    return apply_answers(split, data, replace(pile.answers, answers=own))


def _settled(
    asked: Split,
    data: ImageDataset,
    pile: Pile,
    each: Round,
    new: Sequence[int],
    late: Sequence[int],
) -> Split:
    """The images of a round, and those answered late, that have a label now, with it."""
    wanted = replace(
        asked,
        indices=[*asked.indices, *late],
        labels=[*(asked.labels or ()), *[UNKNOWN] * len(late)],
    )
    answered = _apply(wanted, data, pile, [*new, *late])
    labels = answered.given_labels(data)
    kept = np.flatnonzero(labels != UNKNOWN)
    if not len(kept):
        raise ArtefactError(
            f"none of the {len(asked)} images of {each} got a label; answer about some of them in "
            f"{pile.answers.source}"
        )
    split = replace(
        answered,
        indices=answered.index_array[kept].tolist(),
        labels=labels[kept].tolist(),
    )
    check_two_classes(split, data, each)
    return split


def _summary(
    split: Split, data: ImageDataset, each: Round, new: Sequence[int], late: Sequence[int]
) -> str:
    """What became of the images that were asked for, in a line."""
    skipped = sorted(set(new) - set(split.indices))
    said = f"{each}: {len(new) - len(skipped)} of {len(new)} labelled"
    if skipped:
        differed = " or disagreed upon" if last_record(split)["disagreements"] else ""
        said += f", {len(skipped)} skipped{differed} ({_names(skipped, data)})"
    return said + (f", {len(late)} skipped earlier and labelled now" if late else "")


def _names(indices: Sequence[int], data: ImageDataset) -> str:
    """The ids of the first `SHOWN` images."""
    names = [str(data.ids[index]) for index in indices[:SHOWN]]
    return ", ".join([*names, "…"] if len(indices) > SHOWN else names)


def _export(asked: Split, data: ImageDataset, table: Path, left: list[int]) -> Path:
    """Write the images of a round that wait, as a table and as tasks, over none that are there.

    People may have begun to fill them in.
    """
    waiting = replace(
        asked, indices=left, labels=[UNKNOWN] * len(left), class_counts={}, label_use="none"
    )
    tasks = table.with_suffix(".json")
    if not tasks.exists():
        export_label_studio(waiting, data, tasks, force=True)
    if not table.exists():
        export_csv(waiting, data, table, force=True)
    return table
