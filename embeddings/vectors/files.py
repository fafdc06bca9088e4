"""Vectors and ids from the user's own .npy, .npz or Parquet file; never by pickle."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fmsel.errors import ArtefactError, OptionError

ID_NAMES = ("ids", "id")  # where nobody names the ids


class Table(NamedTuple):
    """What a file holds."""

    vectors: npt.NDArray[Any]  # (N, D), of real numbers; memory-mapped from a .npy
    ids: npt.NDArray[np.str_] | None  # (N,), None where the file has none


def read_table(path: Path, ids: str | None = None) -> Table:
    """Read one file of vectors.

    Args:
        path: a .npy of shape (N, D); a .npz with one such array and optional ids; or a Parquet
            file with a column of lists, or one column a feature, and an optional id column.
        ids: a text file of one id a line or a .npy of ids; else the name of the ids in a .npz or
            Parquet file. None = those called "ids" or "id", if there are any.
    Raises:
        OptionError: a suffix that is not known, or a missing package (the extra is named).
        ArtefactError: missing, broken or ambiguous files, or vectors of another form.
    """
    readers: Mapping[str, Callable[[Path, str | None], Table]] = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".parquet": _read_parquet,
    }
    if path.suffix not in readers:
        raise OptionError(f"{path} must be one of {', '.join(readers)}")
    if not path.is_file():
        raise ArtefactError(f"there is no file {path}")
    beside = Path(ids) if ids is not None and Path(ids).is_file() else None
    table = readers[path.suffix](path, None if beside else ids)
    found = _read_ids(beside) if beside else table.ids
    return Table(_check_form(table.vectors, path), found)


def _read_npy(path: Path, name: str | None) -> Table:
    if name is not None:
        raise ArtefactError(f"there is no file {name}, and {path} can hold no ids beside vectors")
    return Table(_load(path, mmap_mode="r"), None)


def _read_npz(path: Path, name: str | None) -> Table:
    arrays = _load(path)
    id_name = _id_name(name, list(arrays), path)
    rest = [key for key, array in arrays.items() if key != id_name and array.ndim == 2]
    if len(rest) != 1:
        raise ArtefactError(
            f"{path} must hold one array of shape (N, D), got {len(rest)} among "
            f"{', '.join(arrays) or 'none at all'}; save the vectors alone, with their ids as 'ids'"
        )
    return Table(arrays[rest[0]], _as_ids(arrays[id_name], path) if id_name else None)


def _read_parquet(path: Path, name: str | None) -> Table:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise OptionError(
            f"reading {path} needs one more package; pip install 'fmsel[parquet]'"
        ) from None
    try:
        table = parquet.read_table(path)
    except (OSError, ValueError, NotImplementedError) as error:
        raise ArtefactError(f"{path} is not a readable Parquet file ({error})") from error
    id_name = _id_name(name, table.column_names, path)
    kinds = {f.name: f.type for f in table.schema if f.name != id_name}
    lists = [n for n, t in kinds.items() if pa.types.is_list(t) or pa.types.is_fixed_size_list(t)]
    if len(lists) == 1:
        vectors = _from_lists(table.column(lists[0]).combine_chunks(), path, lists[0])
    else:
        other = [n for n, kind in kinds.items() if not pa.types.is_floating(kind)]
        if other or not kinds:
            raise ArtefactError(
                f"{path} must hold one column of lists, or one column of floats a feature; "
                f"{', '.join(other[:3]) or 'nothing'} is neither: name the id column with --ids, "
                "and leave out the others"
            )
        vectors = np.column_stack([table.column(n).to_numpy() for n in kinds])
    ids = _as_ids(table.column(id_name).to_numpy(), path) if id_name else None
    return Table(vectors, ids)


def _from_lists(column: Any, path: Path, name: str) -> npt.NDArray[Any]:
    """An Arrow array of N lists of D numbers each -> (N, D)."""
    from pyarrow import compute

    lengths = compute.fill_null(compute.list_value_length(column), 0).to_numpy()
    odd = np.flatnonzero(lengths != lengths.max(initial=0))
    if odd.size:
        raise ArtefactError(
            f"{path}: column {name!r} holds {lengths[odd[0]]} numbers in row {odd[0]} and "
            f"{lengths.max()} in others; all must have as many"
        )
    values = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values).reshape(len(lengths), lengths.max(initial=0))


def _load(path: Path, mmap_mode: Any = None) -> Any:
    """An array, or the arrays of a .npz by name."""
    try:
        loaded = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        # numpy takes all that it does not know for a pickle, and advises to trust it.
        why = "no numpy file, or pickled" if "pickle" in str(error) else error
        raise ArtefactError(
            f"{path} cannot be read ({why}); save plain numbers with numpy, without pickle"
        ) from error


def _read_ids(path: Path) -> npt.NDArray[np.str_]:
    if path.suffix == ".npy":
        return _as_ids(_load(path), path)
    try:
        return np.array(path.read_text(encoding="utf-8").splitlines(), dtype=np.str_)
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} is not a text file of ids ({error})") from error


def _id_name(wanted: str | None, names: list[str], path: Path) -> str | None:
    if wanted is not None and wanted not in names:
        raise ArtefactError(
            f"there is no file {wanted}, and {path} holds no {wanted!r}; it holds "
            f"{', '.join(names[:5])}"
        )
    return wanted or next((name for name in ID_NAMES if name in names), None)


def _as_ids(array: npt.NDArray[Any], path: Path) -> npt.NDArray[np.str_]:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    usable = array.dtype.kind in "iuU" or all(isinstance(each, str) for each in array.flat)
    if array.ndim != 1 or not usable:
        raise ArtefactError(
            f"{path}: ids must be one row of whole numbers or text, got {array.dtype} of shape "
            f"{array.shape}, perhaps with gaps"
        )
    return array.astype(np.str_)


def _check_form(vectors: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or not vectors.shape[1]:
        raise ArtefactError(
            f"{path}: vectors must be real numbers of shape (N, D), one row an image, got "
            f"{vectors.dtype} of shape {vectors.shape}"
        )
    return vectors
