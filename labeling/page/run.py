"""`prepare` and `serve_task`: from a split on disk to a page, and to the split with labels."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmsel.datasets import ImageDataset
from fmsel.datasets.images.dataset import UNKNOWN
from fmsel.errors import FmselError, OptionError
from fmsel.labeling.apply import Agreement
from fmsel.labeling.page.app import label_app
from fmsel.labeling.page.classes import ClassList
from fmsel.labeling.page.desk import Desk
from fmsel.labeling.page.details import Details
from fmsel.labeling.page.images import ImageFiles
from fmsel.labeling.page.journal import Journal, default_journal
from fmsel.labeling.page.ledger import Ledger
from fmsel.labeling.page.lines import Header, answers
from fmsel.labeling.page.outcome import Outcome
from fmsel.labeling.page.task import Task
from fmsel.labeling.pictures import awaiting
from fmsel.selection.split import Split
from fmsel.selection.split.inputs import load_split_data, matching_embeddings, matching_scores
from fmsel.serving import Access, serve, stable_port

# As in fmsel.experiments.loop.folder, which this may not import.
ASKED = "asked.json"
LOOP = "loop.json"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a person may choose about a page.

    Attributes:
        classes: names to choose from beside those that there are.
        votes: answers that an image needs to be done.
        everything: also images that have a label.
        embeddings, scores: files to show neighbours and scores by; None = whichever are there.
        out, journal: files to write; None = beside the split.
        agreement, relabel: as for `apply_answers`.
        data_root: where the images lie now.
        force: replace what lies at `out`.
    """

    classes: Sequence[str] = ()
    votes: int = 1
    everything: bool = False
    embeddings: Path | None = None
    scores: Path | None = None
    out: Path | None = None
    journal: Path | None = None
    agreement: Agreement = "majority"
    relabel: bool = False
    data_root: Path | None = None
    force: bool = False


def default_out(split: Path) -> Path:
    """Where the split with labels goes."""
    return split.with_name(f"{split.stem}-labelled.json")


def own_port(split: Path, journal: Path | None) -> int:
    """The port that a split is served at whenever it is free; `journal` as in `Options`.

    A browser keeps names and answers that were not sent yet for one port.
    """
    return stable_port(str((journal or default_journal(split)).resolve()))


def is_of_a_loop(split: Path) -> bool:
    """Whether a split is what a round of `fmsel loop` asks people for."""
    return split.name == ASKED and any((each / LOOP).exists() for each in split.absolute().parents)


def prepare(path: Path, options: Options) -> Task:
    """Everything that the page of a split needs, with its journal open.

    Raises:
        ArtefactError: a split, scores, embeddings or journal that is broken or of other images.
        DataError: images that cannot be read, or classes that cannot be used.
        OptionError: nothing to label, classes that the data set has not, or fewer votes than one.
        OutputError: an output that cannot be written, or that something else made.
    """
    if options.votes < 1:
        raise OptionError(f"--votes must be 1 or more, got {options.votes}")
    out, beside = options.out or default_out(path), options.journal or default_journal(path)
    if path.resolve() in (out.resolve(), beside.resolve()) or out.resolve() == beside.resolve():
        raise OptionError(f"{path}, --out and --journal must be three files")
    split = Split.load(path)
    data = load_split_data(split, data_root=options.data_root)
    split.check(data, str(path))
    indices = _to_label(split, data, options)
    embeddings = matching_embeddings(split, data, options.embeddings)
    details = Details(embeddings, matching_scores(split, options.scores))
    classes = ClassList(data, settled=is_of_a_loop(path))  # runs of all rounds have the same
    classes.name_all(options.classes)
    journal = Journal(beside, Header.of(split, path.name, data))
    try:
        ledger = Ledger(Desk(indices, options.votes), journal, lambda index: str(data.ids[index]))
        classes.extend(ledger.desk.added)
        outcome = Outcome(
            split=split,
            data=data,
            classes=classes,
            journal=journal,
            path=out,
            agreement=options.agreement,
            relabel=options.relabel,
        )
        outcome.check(options.force)
        classes.keep()
    except BaseException:
        journal.close()
        raise
    return Task(
        title=str(path),
        split=split,
        data=data,
        ledger=ledger,
        classes=classes,
        outcome=outcome,
        images=ImageFiles(data),
        details=details,
    )


def serve_task(
    task: Task, listener: socket.socket, access: Access, *, open_browser: bool = False
) -> dict[str, Any] | None:
    """Serve the page until it is stopped, then write the split with labels.

    Returns:
        As `Task.written`; None where nobody answered.
    Raises:
        FmselError: the split cannot be written; every answer is in the journal.
    """
    journal = task.outcome.journal
    try:
        serve(label_app(task, access), listener, open_at=access.url if open_browser else None)
        return task.written() if answers(journal.entries) else None
    except FmselError as error:
        raise type(error)(f"{error}; all answers are in {journal.path}") from error
    finally:
        journal.close()


def _to_label(split: Split, data: ImageDataset, options: Options) -> list[int]:
    """Indices in the split's order; people may name the classes of images that have none later."""
    given = split.given_labels(data)
    afresh = split.labels is None and bool((given != UNKNOWN).all())
    if options.everything and not (afresh or options.relabel or (given == UNKNOWN).all()):
        raise OptionError(
            "--all also shows images that have a label by now; pass --relabel too, to let answers "
            "replace it"
        )
    if not data.class_names:
        return list(split.indices)
    found: list[int] = awaiting(split, data, options.everything).tolist()
    return found
