"""`Journal`: the file that every answer is in before anybody is told that it was saved."""

import fcntl
import io
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from warnings import warn

from fmsel.artefacts import check_output, flush_folder
from fmsel.errors import ArtefactError, OptionError, OutputError
from fmsel.labeling.page.lines import Entry, Header, line, read_lines

SUFFIX = ".jsonl"


def default_journal(split: Path) -> Path:
    """Where the answers about a split go, and where a loop looks for them."""
    return split.with_name(f"{split.stem}-answers{SUFFIX}")


class Journal:
    """An open journal, which this process alone may write to.

    Attributes:
        path: of the file.
        header: its first line.
        entries: those on disk; a list that only grows.
    """

    def __init__(self, path: Path, header: Header) -> None:
        """Open a journal, or begin one.

        Raises:
            ArtefactError: as `read_lines`; or answers about another split.
            OptionError: a name without `SUFFIX`.
            OutputError: another process writes to it, or it cannot be written.
        """
        if path.suffix != SUFFIX:
            raise OptionError(f"a journal's name must end in {SUFFIX}, got {path}")
        check_output(path, force=True)
        self.path, self._lock = path, threading.Lock()
        self.entries, self.header, self._new = list[Entry](), header, False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._file: io.FileIO = os.fdopen(number, "rb+", buffering=0)
        except OSError as error:
            raise OutputError(f"cannot write {path} ({error.strerror or error})") from error
        try:
            self._hold()
            self._read(header)
        except BaseException:
            self.close()
            raise

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries; once this returns, not even a crash of the machine loses them.

        Raises:
            OutputError: the disk refused; then none of them is in the journal.
        """
        content = b"".join(map(line, entries))
        with self._lock:
            self._write(content)
            self.entries += entries

    def snapshot(self) -> tuple[list[Entry], str]:
        """What is on disk now, and its sha256."""
        with self._lock:
            return list(self.entries), self._digest.hexdigest()

    def close(self) -> None:
        """Let other processes write to it; one that was begun and never written to is removed."""
        with self._lock:
            if self._new and not self.entries:
                self.path.unlink(missing_ok=True)
            self._file.close()

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"another process writes to {self.path}; label at the address that it printed, "
                "or name another --journal"
            ) from None
        except OSError:
            pass  # some network file systems have no locks

    def _read(self, header: Header) -> None:
        """Take over what is there; begin anew where there are no answers."""
        content = self._file.readall()
        found = read_lines(content, str(self.path))
        if found.entries and found.header is not None and not found.header.about_same(header):
            raise ArtefactError(
                f"{self.path} holds {len(found.entries)} answers about {found.header}, not about "
                f"{header}; name another --journal, or the split that it belongs to"
            )
        self.entries, kept = found.entries, b""
        if found.header is not None and found.header.about_same(header):
            self.header, kept = found.header, content[: found.size]
        if len(content) > found.size:
            warn(
                f"{self.path} ended in the middle of a line that nobody was told was saved; it was "
                "cut off",
                stacklevel=2,
            )
        self._size, self._digest = len(kept), sha256(kept)
        self._new = not content
        missing = b"\n" if kept and not found.ended else b""
        self._write(missing if kept else header.line())
        flush_folder(self.path.absolute().parent)

    def _write(self, content: bytes) -> None:
        """Put bytes behind what is kept; on any error there is nothing behind it."""
        if self._file.closed:
            raise OutputError(f"{self.path} is closed, as the server has stopped")
        if not os.fstat(self._file.fileno()).st_nlink:
            raise OutputError(f"{self.path} was deleted, so nothing can be saved; start again")
        try:
            self._file.truncate(self._size)  # also what an error left that could not be cut off
            self._file.seek(self._size)
            rest = memoryview(content)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._cut()
            raise OutputError(
                f"cannot write {self.path} ({error.strerror or error}); make room or mend its "
                "permissions"
            ) from error
        self._size += len(content)
        self._digest.update(content)

    def _cut(self) -> None:
        with suppress(OSError):  # the next write begins with it
            self._file.truncate(self._size)
