"""Reading and writing artefacts: atomic, never over an existing file unasked, hashed."""

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.errors import ArtefactError, OutputError


def check_output(path: Path, force: bool = False) -> None:
    """Refuse now what could not be written later, so that no long job is lost at its end.

    Proves that its folder, or the nearest one above it that exists, can be written to; leaves
    nothing behind.

    Raises:
        OutputError: `path` exists and `force` is false, or its folder cannot be written to.
    """
    if path.exists() and not force:
        raise OutputError(f"{path} already exists; pass --force to replace it, or --out elsewhere")
    nearest = next(p for p in path.absolute().parents if p.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write to {path.parent} ({error.strerror or error}); "
        "choose another folder or mend its permissions"
    )


@contextmanager
def atomic_path(path: Path, force: bool = False) -> Iterator[Path]:
    """Yield a temporary name beside `path`; flush it to disk and rename it on success.

    Once this returns, not even a crash of the machine loses the file. On any exception the
    temporary file is removed and `path` is left as it was.

    Raises:
        OutputError: as `check_output`, or the disk refused the write.
    """
    check_output(path, force)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    new = [folder for folder in path.absolute().parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)
    for folder in (path.absolute().parent, *(each.parent for each in new)):
        flush_folder(folder)


@contextmanager
def locked(path: Path, refusal: str, shared: bool = False) -> Iterator[None]:
    """Hold the empty file `path`, made where it is missing, so that no other process does.

    A process that ends, however it does, holds it no longer; the file stays. Where the file system
    has no locks, nothing is held.

    Args:
        path: of the file.
        refusal: the sentence for whoever comes second.
        shared: let others hold it likewise; for those who only ask.
    Raises:
        OutputError: another process holds it, or the folder cannot be written to.
    """
    import fcntl  # not everywhere, and nothing else here needs it

    check_output(path, force=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        except PermissionError:  # made by another member of the group
            number = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        try:
            fcntl.flock(number, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(refusal) from None
        except OSError:
            pass  # some network file systems have no locks
        yield
    finally:
        os.close(number)


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to disk, where the file system can do that."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_text(path: Path, text: str, force: bool = False) -> None:
    """Write a text file atomically."""
    with atomic_path(path, force) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, force: bool = False) -> None:
    """Write an indented JSON file atomically; lists of numbers stay on one line."""
    write_text(path, dumps(value) + "\n", force)


def dumps(value: Any, indent: str = "") -> str:
    """JSON that a person can read: objects are indented, arrays of scalars stay on one line."""
    if isinstance(value, dict) and value:
        inner = indent + "  "
        rows = [f"{inner}{json.dumps(str(k))}: {dumps(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    return json.dumps(value)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object; `what` names the kind of file in the error.

    Raises:
        ArtefactError: the file is missing, unreadable or no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ArtefactError(f"{path} cannot be read as a {what} ({reason})") from error
    if not isinstance(value, dict):
        raise ArtefactError(f"{path} is not a {what}: it holds no JSON object")
    return value


def sha256_array(array: npt.NDArray[Any]) -> str:
    """sha256 over dtype, shape and bytes, so that equal bytes of another shape differ."""
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """sha256 of a JSON-able value in canonical form (sorted keys)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, fmsel and the named packages, for an artefact's record."""
    found = {"python": platform.python_version()}
    for package in ("fmsel", "numpy", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def cache_dir() -> Path:
    """Where decoded images, downloads and finished networks' outputs are kept.

    `$FMSEL_CACHE`, else `$XDG_CACHE_HOME/fmsel`, else `~/.cache/fmsel`.
    """
    if home := os.environ.get("FMSEL_CACHE"):
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fmsel"
