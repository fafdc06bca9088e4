"""A journal loses nothing that was told as saved, however its process ends."""

import json
import multiprocessing
import os
import threading
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.errors import ArtefactError, OptionError, OutputError
from fmsel.labeling import read_answers
from fmsel.labeling.page.desk import Desk
from fmsel.labeling.page.journal import Journal
from fmsel.labeling.page.ledger import ConflictError, Ledger
from fmsel.labeling.page.lines import Added, Entry, Header, Said, answers, clean_name, line
from fmsel.selection.random import Random
from fmsel.selection.split import Split, make_split

DATA: ImageDataset = load_dataset("digits")
SPLIT: Split = make_split(DATA, Random(), batch_size=6, seed=0)
OTHER: Split = make_split(DATA, Random(), batch_size=6, seed=1)
HEADER = Header.of(SPLIT, "random.json", DATA)
PEOPLE, CHOICES = ("ann", "Bö\u2028b"), ("3", "skip", "unsure")


def said(seq: int, choice: str | None = "3", index: int = 5, **changed: object) -> Said:
    entry = Said(
        seq=seq, time="2026-01-01T00:00:00.000+00:00", annotator="ann", index=index, id="5",
        choice=choice,
    )  # fmt: skip
    return replace(entry, **changed)  # type: ignore[arg-type]


def open_ledger(path: Path, votes: int = 1) -> Ledger:
    journal = Journal(path, HEADER)
    return Ledger(Desk(SPLIT.indices, votes), journal, lambda index: str(DATA.ids[index]))


def test_what_is_written_is_read_again_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.jsonl"
    written: list[Entry] = [
        said(1),
        said(2, None, key="k"),
        Added(seq=3, time="2026-01-01T00:00:01.000+00:00", annotator="b", class_name='o"t\nter'),
        said(4, "skip", id="caf\u00e9\udc80.png"),
    ]
    journal = Journal(path, HEADER)
    journal.append(written[:1])
    journal.append(written[1:])
    journal.close()
    again = Journal(path, replace(HEADER, created="2027-01-01", class_names=[]))
    assert again.entries == written and again.header == HEADER
    assert path.read_bytes().isascii() and path.read_bytes().count(b"\n") == 5
    entries, digest = again.snapshot()
    again.close()
    assert (entries, digest) == (written, read_answers(path).record["sha256"])


def test_a_journal_cut_at_any_byte_keeps_all_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda number: None)  # a thousand take long
    path = tmp_path / "a.jsonl"
    entries = [said(1), said(2, "unsure", annotator="é"), said(3, None)]
    lines = [HEADER.line(), *map(line, entries)]
    content = b"".join(lines)
    ends = np.cumsum([len(each) for each in lines])
    for cut in (*range(0, ends[0] - 2, 9), *range(ends[0] - 2, len(content) + 1)):
        path.write_bytes(content[:cut])
        # A line is whole once all but its end of line is there.
        whole = int((ends - 1 <= cut).sum())
        torn = cut not in (0, *ends, *(ends - 1))
        if whole:
            before = path.read_bytes()
            assert len(read_answers(path)) == len(answers(entries[: whole - 1]))
            assert path.read_bytes() == before  # reading changes nothing
        with pytest.warns(UserWarning, match="cut off") if torn else nullcontext():
            journal = Journal(path, HEADER)
        assert journal.entries == entries[: max(whole - 1, 0)]
        journal.append([said(len(journal.entries) + 1, "4")])
        assert path.read_bytes() == b"".join(lines[: max(whole, 1)]) + line(journal.entries[-1])
        journal.close()


@pytest.mark.parametrize(
    ("place", "content", "sentence"),
    [
        (0, b"index,label\n", "is no journal of answers"),
        (0, b"[]\n", "is no journal of answers"),
        (0, b'{"fmsel_answers": 2}\n', "has version 2; this fmsel reads version 1"),
        (0, b'{"fmsel_answers": 1}\n', "line 1: not the header"),
        (1, b"\n", "line 2: no JSON object"),
        (1, b"[1]\n", "line 2: no JSON object"),
        (2, b'{"seq": 2\n', "line 3: no JSON object"),
        (2, line(said(1)), "line 3: .*its number is 1 where 2 comes next"),
        (2, line(said(3)), "line 3: .*its number is 3 where 2 comes next"),
        (1, line(said(1, index=-1)), "line 2: .*index -1"),
        (1, line(said(1, index=True)), "line 2: .*index True"),
        (1, line(said(1, choice=3)), "line 2: .*no text"),  # type: ignore[arg-type]
        (1, line(said(1, time="today")), "line 2: .*time 'today'"),
        (1, json.dumps({"seq": 1}).encode() + b"\n", "line 2: not a line of a journal"),
        (1, b"\xff\xfe\n", "line 2: no JSON object"),
    ],
)
def test_a_line_that_is_broken_is_named(
    place: int, content: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    lines = [HEADER.line(), line(said(1)), line(said(2)), line(said(3))]
    lines[place] = content
    path.write_bytes(b"".join(lines))
    with pytest.raises(ArtefactError, match=sentence):
        Journal(path, HEADER)
    assert path.read_bytes() == b"".join(lines)


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    for content in (b"milk", b"milk\n", b'{"a": 1}', b"\xff", b"\n"):
        path.write_bytes(content)
        with pytest.raises(ArtefactError, match="is no journal"):
            Journal(path, HEADER)
        assert path.read_bytes() == content
    with pytest.raises(OptionError, match=r"must end in .jsonl, got .*notes.txt"):
        Journal(tmp_path / "notes.txt", HEADER)
    with pytest.raises(OutputError, match="cannot write"):
        (tmp_path / "folder.jsonl").mkdir()
        Journal(tmp_path / "folder.jsonl", HEADER)


def test_a_journal_of_another_split_is_refused_and_one_without_answers_taken(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.jsonl"
    other = Header.of(OTHER, "other.json", DATA)
    journal = Journal(path, HEADER)
    journal.append([said(1)])
    journal.close()
    before = path.read_bytes()
    refusal = r"1 answers about random.json of digits .*, not about other.json of digits .*another"
    with pytest.raises(ArtefactError, match=refusal):
        Journal(path, other)
    assert path.read_bytes() == before
    path.write_bytes(HEADER.line())
    journal = Journal(path, other)
    assert journal.header == other and path.read_bytes() == other.line()
    journal.close()
    assert path.exists()  # it was there before


def test_nothing_is_left_of_a_journal_that_nobody_answered_in(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.jsonl", HEADER)
    assert journal.path.exists()
    journal.close()
    assert not list(tmp_path.iterdir())


def test_a_second_server_is_kept_out_until_the_first_one_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ready, end = multiprocessing.Event(), multiprocessing.Event()
    first = multiprocessing.Process(target=_hold, args=(path, ready, end))
    first.start()
    assert ready.wait(60)
    with pytest.raises(OutputError, match=r"another process writes to .*a.jsonl; label at"):
        Journal(path, HEADER)
    end.set()
    first.join(60)
    assert first.exitcode == 9
    journal = Journal(path, HEADER)  # however it ended
    assert len(journal.entries) == 1
    journal.close()


def _hold(path: Path, ready: threading.Event, end: threading.Event) -> None:
    journal = Journal(path, HEADER)
    journal.append([said(1)])
    ready.set()
    end.wait(60)
    os._exit(9)


class Disk:
    """Fails as a full disk does, in the middle of a write or at its end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, number: int) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self._fsync(number)


def test_a_full_disk_is_told_and_nothing_is_half_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, path = Disk(monkeypatch), tmp_path / "a.jsonl"
    ledger = open_ledger(path)
    index = SPLIT.indices[0]
    ledger.answer("ann", index, "3", key="one")
    before = path.read_bytes()
    disk.full = True
    with pytest.raises(OutputError, match=r"No space left on device.*make room"):
        ledger.answer("bob", index, "4", key="two")
    assert path.read_bytes() == before
    assert ledger.desk.current("bob", index) is None and ledger.done == 1
    disk.full = False
    saved = ledger.answer("bob", index, "4", key="two")  # the same once more
    assert saved.seq == 2 and ledger.answer("bob", index, "4", key="two") == saved
    ledger.journal.close()
    assert [each.choice for each in open_and_close(path)] == ["3", "4"]


def open_and_close(path: Path) -> list[Said]:
    journal = Journal(path, HEADER)
    journal.close()
    return [each for each in journal.entries if isinstance(each, Said)]


def test_a_journal_that_was_deleted_takes_no_answers(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "a.jsonl")
    ledger.answer("ann", SPLIT.indices[0], "3")
    ledger.journal.path.unlink()
    with pytest.raises(OutputError, match="was deleted"):
        ledger.answer("ann", SPLIT.indices[1], "3")
    assert ledger.done == 1
    ledger.journal.close()


def test_whatever_goes_wrong_nobody_is_told_that_it_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three threads whose answers are written together, by a write that fails in an odd way."""
    ledger, told = open_ledger(tmp_path / "a.jsonl"), list[object]()
    writing = threading.Barrier(2)
    append = ledger.journal.append

    def slowly(entries: list[Entry]) -> None:
        if entries and entries[0].seq == 1:
            writing.wait(60)  # the others have come by then
            while len(ledger._waiting) < 3:
                time.sleep(0.001)
            return append(entries)
        raise MemoryError

    def label(place: int) -> None:
        try:
            told.append(ledger.answer("ann", SPLIT.indices[place], "3"))
        except MemoryError as error:
            told.append(error)

    monkeypatch.setattr(ledger.journal, "append", slowly)
    threads = [threading.Thread(target=label, args=(place,)) for place in range(4)]
    threads[0].start()
    writing.wait(60)
    for each in threads[1:]:
        each.start()
    for each in threads:
        each.join()
    assert sum(isinstance(each, MemoryError) for each in told) == 3 and len(told) == 4
    assert ledger.done == len(ledger.journal.entries) == 1
    ledger.journal.close()
    with pytest.raises(OutputError, match="is closed, as the server has stopped"):
        append([said(2)])


Step = tuple[str, int, str | None, bool, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(PEOPLE),
        st.integers(0, 3),
        st.sampled_from([*CHOICES, None]),
        st.booleans(),  # whether they know the answer that counts
        st.integers(0, 60),  # beyond 40: the server is killed, having begun to write so much
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(steps=STEPS, votes=st.integers(1, 2))
def test_any_history_with_kills_is_what_a_plain_dict_says(
    steps: list[Step], votes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "a.jsonl"
    ledger, model, count = open_ledger(path, votes), dict[tuple[str, int], tuple[str, int]](), 0
    for annotator, place, choice, knows, luck in steps:
        index = SPLIT.indices[place]
        old = model.get((annotator, index))
        replaces = (old[1] if old else None) if knows else count + 7
        refused = not knows or (old is None and choice is None)
        try:
            saved = ledger.answer(annotator, index, choice, replaces=replaces)
        except ConflictError as conflict:
            assert refused and conflict.current == old
        else:
            count += 1
            assert not refused and saved.seq == count
            if choice is None:
                del model[annotator, index]
            else:
                model[annotator, index] = (choice, count)
        if luck > 40:
            ledger.journal.close()
            if count:
                with path.open("ab") as file:
                    file.write(line(said(count + 1))[: luck - 40])
                with pytest.warns(UserWarning, match="cut off"):
                    ledger = open_ledger(path, votes)
            else:
                ledger = open_ledger(path, votes)
        check(ledger, model, votes)
    ledger.journal.close()
    if count:
        found = {(each.annotator, each.index): each.choice for each in read_answers(path).answers}
        assert found == {key: choice for key, (choice, _) in model.items()}


def check(ledger: Ledger, model: dict[tuple[str, int], tuple[str, int]], votes: int) -> None:
    """The ledger against the model, by definition."""
    counts = Counter(index for (_, index), (choice, _) in model.items() if choice != "skip")
    assert ledger.done == sum(counts[index] >= votes for index in SPLIT.indices)
    skipped = {index for (_, index), (choice, _) in model.items() if choice == "skip"}
    assert ledger.settled == all(
        counts[index] >= votes or index in skipped for index in SPLIT.indices
    )
    for name in PEOPLE:
        for item in ledger.items(name):
            answer = item["answer"] and (item["answer"]["choice"], item["answer"]["seq"])
            assert answer == model.get((name, item["index"]))
            assert item["votes"] == counts[item["index"]]


def test_every_answer_that_was_acknowledged_is_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve threads at once, on a disk that refuses now and then; each keeps what it was told."""
    disk, path = Disk(monkeypatch), tmp_path / "a.jsonl"
    ledger, told, refused = open_ledger(path, votes=12), dict[str, tuple[int, str]](), list[int]()
    writes = 0

    def sometimes(number: int) -> None:
        nonlocal writes
        writes += 1
        if writes % 7 == 0:
            raise OSError(5, "Input/output error")
        disk._fsync(number)

    monkeypatch.setattr(os, "fsync", sometimes)

    def label(name: str) -> None:
        seqs: dict[int, int] = {}
        for turn in range(40):
            index, choice = SPLIT.indices[turn % 6], str(turn % 10)
            try:
                saved = ledger.answer(
                    name, index, choice, replaces=seqs.get(index), key=f"{name}-{turn}"
                )
            except OutputError:
                refused.append(turn)
            else:
                seqs[index] = saved.seq
                told[f"{name}-{turn}"] = (index, choice)

    threads = [threading.Thread(target=label, args=(f"p{number}",)) for number in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    monkeypatch.setattr(os, "fsync", disk._fsync)  # opening writes too
    ledger.journal.close()
    saved = {each.key: (each.index, each.choice) for each in open_and_close(path)}
    assert saved == told and refused and len(told) + len(refused) == 12 * 40
    assert writes < len(told)  # several were written together


def test_a_key_saves_once_and_for_one_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ledger, (first, second, *_) = open_ledger(path), SPLIT.indices
    saved = ledger.answer("ann", first, "3", key="k")
    ledger.answer("ann", first, "4", replaces=saved.seq, key="l")
    assert ledger.answer("ann", first, "3", key="k").seq == saved.seq  # late, and changes nothing
    assert ledger.desk.current("ann", first) == ("4", 2)
    for name, index, choice in (("bob", first, "3"), ("ann", second, "3"), ("ann", first, "5")):
        with pytest.raises(ConflictError):
            ledger.answer(name, index, choice, key="k")
    ledger.journal.close()
    again = open_ledger(path)  # keys outlive the server
    assert again.answer("ann", first, "3", key="k").seq == saved.seq
    assert len(again.journal.entries) == 2
    again.journal.close()


def test_names_are_one_line_of_text() -> None:
    assert clean_name("  Zoë ") == clean_name("Zoe\u0308") == "Zoë"
    assert clean_name("x" * 80) and clean_name("👩‍🔬")
    for text in ("", "  ", "x" * 81, "a\nb", "a\x00", "a\u2028b", "\ud800"):
        assert clean_name(text) is None
