"""Rounds wait for people, ask each image once, and end as with the data set's own labels."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_experiments_loop import finished, make_setup, without_labels

from fmsel.datasets import load_dataset
from fmsel.errors import ArtefactError, OptionError
from fmsel.experiments.loop.folder import LoopFolder
from fmsel.experiments.loop.label import Waiting, read_pile
from fmsel.experiments.loop.plan import Round
from fmsel.experiments.loop.run import run_loop

TRUTH = load_dataset("digits").labels
FIRST = Round("random", 0, 0)


def asked_in(table: Path) -> list[int]:
    with table.open(newline="") as file:
        return [int(row["index"]) for row in csv.DictReader(file)]


def answer(path: Path, choices: dict[int, str], annotator: str = "") -> None:
    path.parent.mkdir(exist_ok=True)
    rows = [f"{index},{choice},{annotator}\n" for index, choice in choices.items()]
    path.write_text("index,label,annotator\n" + "".join(rows))


def true_names(indices: Sequence[int]) -> dict[int, str]:
    return {index: str(TRUTH[index]) for index in indices}


def waiting(setup: Any, out: Path) -> Waiting:
    done = run_loop(setup, out)
    assert isinstance(done, Waiting)
    return done


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return tmp_path / "answers"


def test_answers_in_pieces_give_what_the_data_set_s_labels_give(
    tmp_path: Path, answers: Path
) -> None:
    """Half of each round in a table, half in an export of Label Studio, until nothing waits."""
    simulated = finished(make_setup("margin", "random"), tmp_path / "simulated")
    data = without_labels(load_dataset("digits"))
    setup = make_setup("margin", "random", data=data, answers=answers)
    out, calls = tmp_path / "people", 0
    while isinstance(done := run_loop(setup, out), Waiting):
        calls += 1
        assert calls < 20
        indices = [i for table in done.tables for i in asked_in(table)]
        known = set(read_indices(answers))
        left = [index for index in dict.fromkeys(indices) if index not in known]
        assert len(left) == done.images
        half = left[: (len(left) + 1) // 2]
        if calls % 2:
            answer(answers / f"{calls}.csv", true_names(half))
        else:
            write_label_studio(answers / f"{calls}.json", half)
    assert calls >= 4
    assert done.as_dict()["rows"] == simulated.as_dict()["rows"]
    split = LoopFolder(out).split(Round("margin", 0, 1))
    assert split.labels is not None and list(split.labels) == TRUTH[split.index_array].tolist()
    assert sum(split.class_counts.values()) == 20 and split.provenance["labels"]


def read_indices(answers: Path) -> list[int]:
    return [each.index for each in read_pile(answers).answers if each.index is not None]


def write_label_studio(path: Path, indices: Sequence[int]) -> None:
    tasks = [
        {
            "id": number,
            "data": {"index": index},
            "annotations": [
                {
                    "completed_by": 1,
                    "created_at": "2024-05-31T14:00:00Z",
                    "result": [
                        {
                            "type": "choices",
                            "from_name": "class",
                            "value": {"choices": [str(TRUTH[index])]},
                        }
                    ],
                }
            ],
        }
        for number, index in enumerate(indices)
    ]
    path.write_text(json.dumps(tasks))


def test_what_is_asked_lies_in_the_round_and_is_not_written_over(
    tmp_path: Path, answers: Path
) -> None:
    setup, out = make_setup("margin", "random", answers=answers), tmp_path / "loop"
    done = waiting(setup, out)
    table = out / FIRST.folder / "to-label.csv"
    assert done == Waiting(10, (table,), answers)  # both strategies ask for the same start
    assert len(json.loads(table.with_suffix(".json").read_text())) == 10
    assert str(done).startswith(f"waiting for the labels of 10 images: fill in {table} ")
    assert f"put the answers into {answers}/, and give the same command" in str(done)
    table.write_text(table.read_text().replace(",,\n", ",7,\n", 1))  # somebody begins to fill it in
    before = table.read_bytes()
    answer(answers / "a.csv", true_names(asked_in(table)[:3]))
    assert waiting(setup, out).images == 7
    assert table.read_bytes() == before
    split = LoopFolder(out).asked(FIRST)
    assert split is not None and split.awaited == 10 and sum(split.class_counts.values()) == 0


def test_the_filled_table_itself_may_be_the_file_of_answers(tmp_path: Path) -> None:
    out = tmp_path / "loop"
    table = out / FIRST.folder / "to-label.csv"
    setup = make_setup("random", answers=table)
    indices = asked_in(waiting(setup, out).tables[0])
    answer(table, true_names(indices))
    done = waiting(setup, out)
    assert done.tables == (out / Round("random", 0, 1).folder / "to-label.csv",)
    assert f"put the answers as {table}, and" in str(done)


def test_skipped_images_are_no_labels_and_are_not_asked_again(
    tmp_path: Path, answers: Path
) -> None:
    setup, out = make_setup("random", "margin", answers=answers), tmp_path / "loop"
    first = asked_in(waiting(setup, out).tables[0])
    skipped, unsure, *rest = first
    answer(answers / "a.csv", {skipped: "skip", unsure: "unsure", **true_names(rest)})
    done = waiting(setup, out)
    folder = LoopFolder(out)
    assert list(folder.split(FIRST).indices) == rest
    for table in done.tables:
        new = asked_in(table)
        assert len(new) == 12 and not {skipped, unsure} & set(new)  # up to 20 labels
        answer(answers / f"{table.parent.parent.name}.csv", true_names(new))
    both = [index for table in done.tables for index in asked_in(table)]
    if len(set(both)) < len(both):  # an image that both asked for was answered twice, alike
        assert done.images == len(set(both))
    results = finished(setup, out)
    assert [track.labels for row in results.rows for track in row.tracks] == [(8, 20)] * 2
    assert results.short


def test_skipped_images_are_left_out_of_a_choice_of_almost_all(
    tmp_path: Path, answers: Path
) -> None:
    """Of 1,432 images without a label, chance would leave out these four once in 10^9 times."""
    setup, out = make_setup("random", budgets=(10, 1430), answers=answers), tmp_path / "loop"
    asked = asked_in(waiting(setup, out).tables[0])
    answer(answers / "a.csv", dict.fromkeys(asked[:4], "skip") | true_names(asked[4:]))
    (table,) = waiting(setup, out).tables
    new = asked_in(table)
    assert len(set(new)) == 1430 - 6 and not set(asked) & set(new)


def test_an_answer_serves_every_track_that_asks(tmp_path: Path, answers: Path) -> None:
    """A strategy without chance asks for the same first images whatever the seed."""
    setup, out = make_setup("k_center", seeds=2, answers=answers), tmp_path / "loop"
    done = waiting(setup, out)
    first, second = map(asked_in, done.tables)
    assert first == second and done.images == 10
    answer(answers / "a.csv", true_names(first))
    done = waiting(setup, out)
    assert [table.parent.name for table in done.tables] == ["round-1", "round-1"]


def test_equal_answers_of_several_files_count_once_and_others_contradict(
    tmp_path: Path, answers: Path
) -> None:
    setup, out = make_setup("random", answers=answers), tmp_path / "loop"
    indices = asked_in(waiting(setup, out).tables[0])
    answer(answers / "a.csv", true_names(indices[:6]))
    answer(answers / "b.csv", true_names(indices[:8]))
    assert waiting(setup, out).images == 2
    wrong = str((TRUTH[indices[0]] + 1) % 10)
    answer(answers / "c.csv", {indices[0]: wrong})
    with pytest.raises(ArtefactError, match=r"answers, c\.csv, line 2: an unnamed annotator answe"):
        run_loop(setup, out)


def test_named_annotators_vote(tmp_path: Path, answers: Path) -> None:
    setup, out = make_setup("random", answers=answers), tmp_path / "loop"
    indices = asked_in(waiting(setup, out).tables[0])
    right = true_names(indices)
    wrong = {indices[0]: str((TRUTH[indices[0]] + 1) % 10)}
    for name, choices in (("ada", right), ("bob", right | wrong), ("eve", right)):
        answer(answers / f"{name}.csv", choices, name)
    waiting(setup, out)
    split = LoopFolder(out).split(FIRST)
    assert list(split.labels or ()) == TRUTH[split.index_array].tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,label\n{other},3\n", r"a\.csv, line 2: image \d+ is not among"),
        ("index,label\n{asked},3\n{asked2},cat\n", r"a\.csv, line 3: 'cat' is no class of digits"),
        ("id,label\nphoto.png,3\n", r"a\.csv, line 2: no image of the split has the id 'photo"),
        ("index,label\nx,3\n", r"a\.csv, line 2: index 'x' is not an integer"),
    ],
)
def test_answers_that_mean_nothing_are_refused(
    tmp_path: Path, answers: Path, text: str, message: str
) -> None:
    setup, out = make_setup("random", answers=answers), tmp_path / "loop"
    asked = asked_in(waiting(setup, out).tables[0])
    other = min(set(range(100)) - set(asked))
    answers.mkdir()
    words = {"asked": asked[0], "asked2": asked[1], "other": other}
    (answers / "a.csv").write_text(text.format(**words))
    with pytest.raises(ArtefactError, match=message):
        run_loop(setup, out)
    assert not (out / FIRST.folder / "split.json").exists()


def test_too_few_labels_say_so_until_there_are_more(tmp_path: Path, answers: Path) -> None:
    setup, out = make_setup("random", answers=answers), tmp_path / "loop"
    indices = asked_in(waiting(setup, out).tables[0])
    answer(answers / "a.csv", dict.fromkeys(indices, "skip"))
    with pytest.raises(ArtefactError, match="none of the 10 images of random, seed 0, round 0 got"):
        run_loop(setup, out)
    answer(answers / "a.csv", dict.fromkeys(indices, "skip") | {indices[0]: "3"})
    with pytest.raises(ArtefactError, match=r"are of one class, '3'"):
        run_loop(setup, out)
    answer(answers / "a.csv", true_names(indices))
    assert waiting(setup, out).tables[0].parent.name == "round-1"


def test_piles(tmp_path: Path, answers: Path) -> None:
    assert len(read_pile(answers)) == len(read_pile(tmp_path / "a.csv")) == 0
    with pytest.raises(OptionError, match=r"answers\.txt must end in \.csv"):
        read_pile(tmp_path / "answers.txt")
    answer(answers / "a.csv", {1: "3"})
    (answers / ".b.csv").write_text("nonsense")
    (answers / "notes.txt").write_text("nonsense")
    pile = read_pile(answers)
    assert [(each.index, each.choice) for each in pile.answers] == [(1, "3")]
    assert list(pile.record["files"]) == ["a.csv"]
    assert replace(pile.answers[0], where="line 2") == read_pile(answers / "a.csv").answers[0]
