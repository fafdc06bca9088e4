"""`Task`: all that a page of one split reads and changes."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fmsel.artefacts import sha256_json
from fmsel.datasets import ImageDataset, dataset_names
from fmsel.datasets.images.dataset import UNKNOWN
from fmsel.errors import FmselError
from fmsel.labeling.answers import NO_CLASS, SKIP
from fmsel.labeling.page.classes import ClassList
from fmsel.labeling.page.details import Details
from fmsel.labeling.page.images import ImageFiles
from fmsel.labeling.page.ledger import Ledger
from fmsel.labeling.page.outcome import Outcome
from fmsel.selection.split import Split


@dataclass(frozen=True, kw_only=True)
class Task:
    """A split that people label.

    Attributes:
        title: of the page.
        split, data: what is labelled.
        ledger: answers and who is there.
        classes: to choose from.
        outcome: the split with labels.
        images, details: what is shown.
    """

    title: str
    split: Split
    data: ImageDataset
    ledger: Ledger
    classes: ClassList
    outcome: Outcome
    images: ImageFiles
    details: Details

    @cached_property
    def id(self) -> str:
        """Tells this split and journal from all others; the same whenever they are served."""
        return sha256_json([self.split.sha256, str(self.outcome.journal.path.resolve())])[:16]

    @property
    def indices(self) -> list[int]:
        """Of the images to label, in the split's order."""
        return list(self.ledger.desk.indices)

    def describe(self) -> dict[str, Any]:
        """What the page needs to begin."""
        return {
            "id": self.id,
            "title": self.title,
            "dataset": self.data.name,
            "total": len(self.ledger.desk.indices),
            "classes": list(self.classes.names),
            "may_add_classes": self.classes.may_add,
            "no_class": self.no_class,
            "votes": self.ledger.desk.votes,
            "has_neighbours": self.details.embeddings is not None,
            "has_scores": self.details.scores is not None,
            "out": str(self.outcome.path),
        }

    @property
    def no_class(self) -> list[str]:
        """Answers beside skips that name no class, unless a class has that name."""
        return [each for each in NO_CLASS if each not in self.classes.names]

    def is_choice(self, choice: str) -> bool:
        """Whether this may be answered."""
        return choice in (*self.classes.names, *self.no_class, SKIP)

    def shown_id(self, index: int) -> str:
        """An image's id, or its number where the id would tell the class, or is no text."""
        name, tells = str(self.data.ids[index]), self._sorted and self.data.labels[index] != UNKNOWN
        return str(index) if tells or not name.isprintable() else name

    def label(self, index: int) -> str | None:
        """What most people say of an image, or else the split's own label; never the data set's."""
        said = Counter(
            each for each in self.ledger.said_of(index) if each in self.classes.names
        ).most_common(2)
        if said and (len(said) == 1 or said[0][1] > said[1][1]):
            return said[0][0]
        label = self._held.get(index, UNKNOWN)
        return None if label == UNKNOWN else self.data.class_names[label]

    @cached_property
    def _sorted(self) -> bool:
        """Whether ids are paths, which may lead through the folder of a class."""
        return self.data.source.dataset not in dataset_names()

    @cached_property
    def _held(self) -> dict[int, int]:
        return dict(zip(self.split.indices, self.split.labels or (), strict=False))

    def add_class(self, annotator: str, text: str) -> None:
        """Let a class be chosen from now on.

        Raises:
            ClassTakenError, OptionError: as `ClassList.checked`.
            DataError, OutputError: it cannot be kept.
        """
        self.classes.check_writable()
        with self.classes.changing:
            name = self.classes.checked(text)
            self.ledger.add_class(annotator, name)
            self.classes.extend([name])
        self.classes.keep()

    def written(self) -> dict[str, Any]:
        """Write the split with labels; what came of it."""
        made = self.outcome.write()
        return {
            "wrote": str(self.outcome.path),
            "labelled": len(made) - made.awaited,
            "awaited": made.awaited,
        }

    def write_if_settled(self) -> FmselError | None:
        """Write the split with labels once nothing is left to do; why that failed, if it did."""
        if self.ledger.settled:
            try:
                self.outcome.write()
            except FmselError as error:
                return error
        return None
