"""A run folder is made, replaced and held: by one process at a time, and never one of another's."""

import dataclasses
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from held_lock import held_elsewhere
from test_fixmatch_run import DATA, FP32, SPLIT, TEST, TINY, split_of

from fmsel.errors import ArtefactError, OutputError
from fmsel.fixmatch.run import RunRecord, loop, train
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.inputs import prepare_inputs
from fmsel.fixmatch.run.session import Session


def test_existing_folders_are_kept_unless_forced(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(SPLIT, DATA, TEST, TINY, out, **FP32)
    before = (out / "summary.json").read_text()
    with pytest.raises(OutputError, match="already exists; pass --resume"):
        train(SPLIT, DATA, TEST, TINY, out, **FP32)
    bad = split_of(DATA, [0, 3])  # one class
    with pytest.raises(ArtefactError, match="all 2 images of the split are of one class"):
        train(bad, DATA, TEST, TINY, out, **FP32, force=True)
    assert (out / "summary.json").read_text() == before
    train(SPLIT, DATA, TEST, dataclasses.replace(TINY, steps=4), out, **FP32, force=True)
    assert RunRecord.load(out).steps.tolist() == [4]


def test_a_folder_that_is_no_run_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(OutputError, match="photos is not a run folder; choose another --out"):
        train(SPLIT, DATA, TEST, TINY, tmp_path / "photos", **FP32, force=True)
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_another_programs_configuration_makes_no_run(tmp_path: Path) -> None:
    """Nor does a broken one by itself; a run whose configuration was spoilt may be replaced."""
    out = tmp_path / "bert"
    out.mkdir()
    for content in ('{"model_type": "bert"}', "{"):
        (out / "config.json").write_text(content)
        with pytest.raises(OutputError, match="bert is not a run folder; choose another --out"):
            train(SPLIT, DATA, TEST, TINY, out, **FP32, force=True)
        assert (out / "config.json").read_text() == content
        (out / "checkpoints").mkdir(exist_ok=True)
        theirs = out / "checkpoints" / "step-00010000.safetensors"
        theirs.touch()
        if content != "{":
            with pytest.raises(OutputError, match="bert is not a run folder"):
                train(SPLIT, DATA, TEST, TINY, out, **FP32, force=True)
            assert theirs.exists()
        theirs.unlink()
    (out / "split.json").touch()
    train(SPLIT, DATA, TEST, TINY, out, **FP32, force=True)
    assert RunRecord.load(out).seed == FP32["seed"]


@pytest.mark.parametrize("again", [{"force": True}, {"resume": True}])
def test_a_run_under_way_is_neither_replaced_nor_gone_on_with(
    tmp_path: Path, again: dict[str, Any]
) -> None:
    """By a second process; one that was killed holds nothing."""
    out = tmp_path / "run"
    train(SPLIT, DATA, TEST, TINY, out, **FP32)
    before = {each.name: each.read_bytes() for each in out.iterdir() if each.is_file()}
    with (
        held_elsewhere(out / "run.lock"),
        pytest.raises(OutputError, match=r"another process is training .*run; wait until"),
    ):
        train(SPLIT, DATA, TEST, TINY, out, **FP32, **again)
    assert {each.name: each.read_bytes() for each in out.iterdir() if each.is_file()} == before
    train(SPLIT, DATA, TEST, TINY, out, **FP32, **again)


def test_a_run_that_was_killed_as_it_began_is_no_run_yet(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with RunFolder(out).locked():
        pass
    assert [each.name for each in out.iterdir()] == ["run.lock"]
    with pytest.raises(ArtefactError, match=r"there is no run to resume in .*; train without"):
        train(SPLIT, DATA, TEST, TINY, out, **FP32, resume=True)
    train(SPLIT, DATA, TEST, TINY, out, **FP32)


def test_whoever_only_asks_keeps_nobody_else_from_asking(tmp_path: Path) -> None:
    """As the processes that torchrun starts do."""
    folder = RunFolder(tmp_path / "run")
    with folder.locked(shared=True):
        with folder.locked(shared=True):
            pass
        with pytest.raises(OutputError, match="another process"), folder.locked():
            pass
    with (
        folder.locked(),
        pytest.raises(OutputError, match="another process"),
        folder.locked(shared=True),
    ):
        pass


def test_a_lock_that_a_colleague_made_is_held_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        pass
    opened = os.open

    def refuse(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if str(path).endswith(".lock") and flags & os.O_WRONLY:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    with (
        folder.locked(),
        pytest.raises(OutputError, match="another process"),
        folder.locked(),
    ):
        pass
    (folder.path / "run.lock").unlink()
    with pytest.raises(OutputError, match=r"cannot write to .*run \("), folder.locked():
        pass


def test_a_run_that_came_and_went_during_the_preparation_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    monkeypatch.setattr(loop, "prepare_inputs", lambda *rest: _and(prepare_inputs(*rest), other))

    def other() -> None:
        monkeypatch.setattr(loop, "prepare_inputs", prepare_inputs)
        train(SPLIT, DATA, TEST, TINY, out, **FP32)

    with pytest.raises(OutputError, match="already exists"):
        train(SPLIT, DATA, TEST, dataclasses.replace(TINY, steps=2), out, **FP32)
    assert RunRecord.load(out).config.steps == TINY.steps


def _and(value: Any, work: Callable[[], None]) -> Any:
    work()
    return value


def test_a_run_under_way_holds_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advance = Session.advance
    tried: list[int] = []

    def second(self: Session) -> None:
        advance(self)
        if not tried:
            tried.append(self.step)
            train(SPLIT, DATA, TEST, TINY, tmp_path / "run", **FP32, force=True)

    monkeypatch.setattr(Session, "advance", second)
    with pytest.raises(OutputError, match="another process is training"):
        train(SPLIT, DATA, TEST, TINY, tmp_path / "run", **FP32)
    assert tried == [1]
    train(SPLIT, DATA, TEST, TINY, tmp_path / "run", **FP32, force=True)  # held no longer
