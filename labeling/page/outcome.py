"""`Outcome`: the split with the labels that people gave, written again whenever it changed."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from fmsel.artefacts import check_output, read_json
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError, FmselError, OutputError
from fmsel.labeling.answers import Answers
from fmsel.labeling.apply import RECORD, Agreement, apply_answers
from fmsel.labeling.page.classes import LEAST, ClassList
from fmsel.labeling.page.journal import Journal
from fmsel.labeling.page.lines import answers
from fmsel.selection.split import Split

JOURNAL = "journal"  # in the record of a source: which journal it is, whatever it holds by now


@dataclass
class Outcome:
    """A split that follows from another one and a journal.

    Attributes:
        split: what people label.
        data: its images.
        classes: of the images by now.
        journal: what people said.
        path: where the result goes.
        agreement, relabel: as for `apply_answers`.
        made: what was written last; None = nothing yet.
    """

    split: Split
    data: ImageDataset
    classes: ClassList
    journal: Journal
    path: Path
    agreement: Agreement = "majority"
    relabel: bool = False
    made: Split | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, force: bool) -> None:
        """Refuse now what could not be written later.

        Raises:
            ArtefactError: answers in the journal that `apply_answers` refuses.
            OutputError: the file cannot be written, or is there and nothing that this made.
        """
        check_output(self.path, force=True)
        if self.path.exists() and not force and not self._is_own():
            raise OutputError(
                f"{self.path} already exists and was not made of {self.journal.path}; pass --force "
                "to replace it, or --out elsewhere"
            )
        if answers(self.journal.entries) and len(self.classes.names) >= LEAST:
            self._apply()

    def write(self) -> Split:
        """Write the split with all labels so far, unless it lies there.

        Raises:
            ArtefactError: no answers yet, or fewer classes than a data set must have.
            OutputError: the disk refused.
        """
        with self._lock:
            made = self._apply()
            if made != self.made or not self.path.exists():
                made.save(self.path, force=True)
                self.made = made
            return made

    def _apply(self) -> Split:
        self.classes.keep()
        names = self.classes.names
        if len(names) < LEAST:
            raise ArtefactError(
                f"{len(names) or 'no'} class is named so far, and a split with labels needs "
                f"{LEAST}; add the others"
            )
        entries, digest = self.journal.snapshot()
        source = Answers(
            source=str(self.journal.path),
            record={
                "file": self.journal.path.name,
                "sha256": digest,
                JOURNAL: self.journal.header.id,
            },
            answers=answers(entries),
        )
        return apply_answers(
            self.split,
            with_classes(self.data, names),
            source,
            agreement=self.agreement,
            relabel=self.relabel,
        )

    def _is_own(self) -> bool:
        """Whether the file that is there was made of this journal."""
        try:
            found = read_json(self.path, "split")["provenance"][RECORD][-1][JOURNAL]
        except (FmselError, KeyError, IndexError, TypeError):
            return False
        return bool(found == self.journal.header.id)


def with_classes(data: ImageDataset, names: tuple[str, ...]) -> ImageDataset:
    """The same images, with these classes."""
    if names == data.class_names:
        return data
    changed = replace(data, class_names=names)
    changed.__dict__["images_sha256"] = data.images_sha256  # takes long for many images
    return changed
