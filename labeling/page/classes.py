"""`ClassList`: the classes people choose from, and the file that keeps those that they add."""

import fcntl
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fmsel.artefacts import check_output, write_text
from fmsel.datasets import ImageDataset, dataset_names
from fmsel.datasets.folder import CLASSES
from fmsel.datasets.images.dataset import UNKNOWN
from fmsel.datasets.images.files import list_folders
from fmsel.errors import DataError, OptionError
from fmsel.labeling.answers import NO_CLASS, SKIP
from fmsel.labeling.page.lines import NAME_LENGTH, clean_name

LEAST = 2  # classes that a data set must have


class ClassTakenError(Exception):
    """A class of this name is there."""


class ClassList:
    """The names of the classes, in the order of their numbers.

    A folder whose images lie in no class folders has its classes in a file beside them. Names are
    added at its end alone, as labels are numbers; it is written from `LEAST` names on.

    Attributes:
        may_add: whether people may add names.
        path: of the file that keeps them then.
        changing: held by whoever adds a name, from the look whether it is there.
    """

    def __init__(self, data: ImageDataset, *, settled: bool = False) -> None:
        """Those of the data set.

        Args:
            settled: whether something else has begun with these classes and needs them to stay.
        Raises:
            DataError: a class whose name the page needs for itself.
        """
        if SKIP in data.class_names:
            raise DataError(
                f"{data.name} has a class {SKIP!r}, which on the page means to pass an image over; "
                "rename it"
            )
        self.may_add = _named_by_file(data) and not settled
        self.path, self.changing = Path(data.source.dataset) / CLASSES, threading.RLock()
        self._names, self._dataset = data.class_names, data.name

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    def name_all(self, names: Sequence[str]) -> None:
        """Take the classes that the person at the terminal names, all of them or more of them.

        Raises:
            OptionError: names that cannot be classes, one class alone, or a data set that has
                others.
        """
        if not names:
            return
        new = [name for name in names if name not in self._names]
        if new and not self.may_add:
            raise OptionError(
                f"{new[0]!r} is no class of {self._dataset}, whose classes are "
                f"{', '.join(self._names)}; leave --classes out"
            )
        if len(names) + len(self._names) < LEAST:
            raise OptionError(f"--classes must name {LEAST} or more, such as cat,dog")
        for name in new:
            try:
                self._names = (*self._names, self.checked(name))
            except ClassTakenError:
                raise OptionError(f"--classes names {name!r} twice; leave one out") from None

    def checked(self, text: str) -> str:
        """A new name as it is kept.

        Raises:
            ClassTakenError: it is there, in capitals or not.
            OptionError: no name for a class.
        """
        name = clean_name(text)
        if name is None:
            raise OptionError(f"a class is named by 1 to {NAME_LENGTH} characters, on one line")
        if name.casefold() in (SKIP, *NO_CLASS):
            raise OptionError(f"{name!r} is no name for a class, as it is an answer without one")
        if name.casefold() in map(str.casefold, self._names):
            raise ClassTakenError(name)
        return name

    def check_writable(self) -> None:
        """OutputError where a name could not be kept."""
        check_output(self.path, force=True)

    def extend(self, names: Iterable[str]) -> None:
        """Add names that are not there."""
        with self.changing:
            self._names = tuple(dict.fromkeys([*self._names, *names]))

    def keep(self) -> None:
        """Bring the file to what is known here, and this to what others added to the file.

        Raises:
            DataError, OutputError: the file cannot be read, or not written.
        """
        if not self.may_add:
            return
        with self.changing, _held(self.path.parent):
            there = _read(self.path)
            self._names = tuple(dict.fromkeys([*there, *self._names]))
            if len(self._names) >= LEAST and list(self._names) != there:
                write_text(self.path, "".join(f"{name}\n" for name in self._names), force=True)


def _named_by_file(data: ImageDataset) -> bool:
    """Whether the classes of a data set are those of its file, or would be."""
    if data.source.dataset in dataset_names() or (data.labels != UNKNOWN).any():
        return False
    root = Path(data.source.dataset)
    of_test = (root / "test").is_dir() and bool(list_folders(root / "test"))
    return not of_test and (not data.class_names or (root / CLASSES).exists())


def _read(path: Path) -> list[str]:
    """Names as the data set reads them, which also told what is wrong with them."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error})") from error
    return [line.strip() for line in lines if line.strip()]


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep other label servers from changing the classes of a folder meanwhile."""
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{folder} cannot be opened ({error.strerror or error})") from error
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
