"""What all packages share: seeds, reading and writing artefacts."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmsel.artefacts import (
    atomic_path,
    check_output,
    dumps,
    read_json,
    sha256_array,
    write_json,
    write_text,
)
from fmsel.errors import ArtefactError, OutputError
from fmsel.seeds import generator, torch_seed


def test_streams_differ_by_seed_purpose_and_path_and_repeat() -> None:
    keys = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a", 0, 0)]
    draws = [torch_seed(*key) for key in keys]  # type: ignore[arg-type]
    assert len(set(draws)) == len(keys)
    assert draws == [torch_seed(*key) for key in keys]  # type: ignore[arg-type]
    assert all(0 <= draw < 2**63 for draw in draws)
    assert generator(3, "x").random() == generator(3, "x").random()


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    write_json(path, {"a": [1, 2], "b": {"c": None}})
    with pytest.raises(ZeroDivisionError), atomic_path(path, force=True) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]
    assert read_json(path, "thing") == {"a": [1, 2], "b": {"c": None}}


def test_contents_then_names_are_flushed_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order that survives a crash at any moment: file, rename, every folder with a name."""
    path, events = tmp_path / "new" / "deep" / "a.txt", list[int | str]()
    fsync, replace = os.fsync, Path.replace

    def record_fsync(number: int) -> None:
        events.append(os.fstat(number).st_ino)
        fsync(number)

    def record_replace(self: Path, target: Any) -> Path:
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_replace)
    write_text(path, "x")
    file, deep, new, old = (p.stat().st_ino for p in (path, *path.parents[:3]))
    assert events == [file, "rename", deep, new, old]


def test_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(OutputError, match=r"a\.json already exists; pass --force"):
        write_json(path, {"a": 2})
    assert read_json(path, "thing") == {"a": 1}


def test_check_output_leaves_nothing_behind(tmp_path: Path) -> None:
    check_output(tmp_path / "x" / "y" / "a.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write to .*file"):
        check_output(tmp_path / "file" / "a.json")


@pytest.mark.parametrize("text", ["", "[1]", "{", "\x00"])
def test_broken_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ArtefactError, match=r"a\.json"):
        read_json(path, "split")


def test_hash_tells_shape_and_dtype_apart() -> None:
    zeros = np.zeros(4, np.uint8)
    others = [zeros.reshape(2, 2), zeros.astype(np.int8), np.zeros(0, np.uint8)]
    assert len({sha256_array(a) for a in [zeros, *others]}) == 4
    assert sha256_array(zeros[::2]) == sha256_array(np.zeros(2, np.uint8))


def test_dumps_keeps_lists_on_one_line() -> None:
    assert dumps({"a": [1, 2], "b": {}}) == '{\n  "a": [1, 2],\n  "b": {}\n}'
