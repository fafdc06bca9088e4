"""Rounds wait for people, ask each image once, and end as with the data set's own labels."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_experiments_loop import finished, make_setup, without_labels

from fmsel.artefacts import sha256_file
from fmsel.datasets import load_dataset
from fmsel.errors import ArtefactError, BudgetError, OptionError
from fmsel.experiments.loop.folder import LoopFolder
from fmsel.experiments.loop.label import Waiting
from fmsel.experiments.loop.pile import Pile, answer_files, read_pile
from fmsel.experiments.loop.plan import Round
from fmsel.experiments.loop.run import run_loop
from fmsel.labeling import read_answers
from fmsel.selection.random import Random
from fmsel.selection.split import make_split

TRUTH = load_dataset("digits").labels
IDS = [str(each) for each in load_dataset("digits").ids]
FIRST = Round("random", 0, 0)
TABLE = FIRST.folder / "to-label-random-seed0-round-0.csv"


def asked_in(table: Path) -> list[int]:
    with table.open(newline="") as file:
        return [int(row["index"]) for row in csv.DictReader(file)]


def answer(path: Path, choices: dict[int, str], annotator: str = "") -> None:
    path.parent.mkdir(exist_ok=True)
    rows = [f"{index},{choice},{annotator}\n" for index, choice in choices.items()]
    path.write_text("index,label,annotator\n" + "".join(rows))


def true_names(indices: Sequence[int]) -> dict[int, str]:
    return {index: str(TRUTH[index]) for index in indices}


def waiting(setup: Any, out: Path, **options: Any) -> Waiting:
    done = run_loop(setup, out, **options)
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
    read = [each for file in answer_files(answers) for each in read_answers(file).answers]
    return [each.index for each in read if each.index is not None]


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
    table = out / TABLE
    assert done == Waiting(10, (table,), answers)  # both strategies ask for the same start
    assert len(json.loads(table.with_suffix(".json").read_text())) == 10
    assert str(done).startswith("waiting for the labels of 10 images: write a class, ")
    assert f"into the column label of {table}, save, and give the same command" in str(done)
    assert f"Label Studio and put its export into {answers}/)" in str(done)
    fill(table, true_names(asked_in(table)[:1]))  # somebody begins
    before = table.read_bytes()
    answer(answers / "a.csv", true_names(asked_in(table)[:3]))  # its first row once more
    assert waiting(setup, out).images == 7
    assert table.read_bytes() == before
    split = LoopFolder(out).asked(FIRST)
    assert split is not None and split.awaited == 10 and sum(split.class_counts.values()) == 0


def fill(table: Path, choices: dict[int, str], annotator: str = "") -> None:
    """Write labels into the table that a loop wrote."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if (choice := choices.get(int(row["index"]))) is not None:
            row |= {"label": choice, "annotator": annotator}
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("annotator", ["", "ada"])
def test_tables_filled_where_they_lie_are_read_and_copies_of_them_too(
    tmp_path: Path, answers: Path, annotator: str
) -> None:
    setup, out = make_setup("random", "margin", answers=answers), tmp_path / "loop"
    (table,) = waiting(setup, out).tables
    fill(table, true_names(asked_in(table)), annotator)
    answers.mkdir()
    (answers / table.name).write_bytes(table.read_bytes())
    tables = waiting(setup, out).tables
    assert [each.name for each in tables] == [
        "to-label-random-seed0-round-1.csv",
        "to-label-margin-seed0-round-1.csv",
    ]
    split = LoopFolder(out).split(FIRST)
    assert split.provenance["labels"][0]["files"] == {table.name: sha256_file(table)}
    for each in tables:
        fill(each, true_names(asked_in(each)), annotator)
    assert [row.labels for row in finished(setup, out).rows] == [[10, 20]] * 2


def test_a_wrong_word_in_a_table_is_named_by_its_place(tmp_path: Path, answers: Path) -> None:
    setup, out = make_setup("random", answers=answers), tmp_path / "loop"
    (table,) = waiting(setup, out).tables
    fill(table, dict.fromkeys(asked_in(table)[1:2], "cat"))
    with pytest.raises(ArtefactError, match=f"people's answers, {table}, line 3: 'cat' is no cla"):
        run_loop(setup, out)


def test_many_tables_are_named_in_part(tmp_path: Path, answers: Path) -> None:
    setup = make_setup("random", seeds=5, answers=answers)
    done = waiting(setup, tmp_path / "loop")
    assert f"{done.tables[2]} and 2 more in {tmp_path}/loop/tracks, save" in str(done)


def test_the_filled_table_itself_may_be_the_file_of_answers(tmp_path: Path) -> None:
    out = tmp_path / "loop"
    table = out / TABLE
    setup = make_setup("random", answers=table)
    indices = asked_in(waiting(setup, out).tables[0])
    answer(table, true_names(indices))
    done = waiting(setup, out)
    second = Round("random", 0, 1)
    assert done.tables == (out / second.folder / f"{second.table}.csv",)
    assert f"put its export as {table})" in str(done)


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
    assert results.short and not results.beyond


def test_a_class_given_late_counts_in_the_next_round_that_is_settled(
    tmp_path: Path, answers: Path
) -> None:
    """One of three skipped images gets its class while round 1 waits, one more in round 2."""
    setup, out = make_setup("random", budgets=(10, 12, 15), answers=answers), tmp_path / "loop"
    said: list[str] = []
    (table,) = waiting(setup, out, say=said.append).tables
    one, two, never, *rest = asked_in(table)
    skips = dict.fromkeys((one, two, never), "skip")
    fill(table, skips | true_names(rest))
    (second,) = waiting(setup, out, say=said.append).tables
    named = ", ".join(IDS[index] for index in sorted(skips))
    assert said[0] == f"random, seed 0, round 0: 7 of 10 labelled, 3 skipped ({named})"
    fill(table, true_names([one]))
    fill(second, true_names(asked_in(second)))
    (third,) = waiting(setup, out, say=said.append).tables
    label = "random, seed 0, round 1: 5 of 5 labelled, 1 skipped earlier and labelled now"
    assert label in said
    folder, track = LoopFolder(out), setup.plan.track("random", 0)
    assert list(folder.split(track[1]).indices) == [*rest, *asked_in(second), one]
    assert list(folder.skipped(track[:2])) == sorted((two, never))
    fill(table, true_names([two]))
    new = asked_in(third)
    assert len(new) == 2 and not set(new) & set(skips)  # of 15, where 13 are labelled
    fill(third, true_names(new))
    results = finished(setup, out, say=said.append)
    assert results.rows[0].labels == [7, 13, 16] and results.short and results.beyond
    fill(table, true_names([never]))
    finished(setup, out, say=said.append)
    assert said[-1].startswith("too late for the last round: images that were skipped and have a ")
    assert f"(1, {IDS[never]}); one more number at the end of --budgets" in said[-1]
    with pytest.raises(BudgetError, match=r"round 2 has 16 labels, and the next number .* is 16"):
        run_loop(make_setup("random", budgets=(10, 12, 15, 16), answers=answers), out)
    longer = make_setup("random", budgets=(10, 12, 15, 17), answers=answers)
    (fourth,) = waiting(longer, out).tables
    fill(fourth, true_names(asked_in(fourth)))
    assert finished(longer, out, say=said.append).rows[0].labels == [7, 13, 16, 18]
    assert "too late" not in said[-1] and never in folder.split(longer.plan.every[-1]).indices


def test_late_classes_leave_the_next_round_something_to_ask_for(
    tmp_path: Path, answers: Path
) -> None:
    setup, out = make_setup("random", budgets=(10, 12, 14), answers=answers), tmp_path / "loop"
    (table,) = waiting(setup, out).tables
    first = asked_in(table)
    fill(table, dict.fromkeys(first[:4], "skip") | true_names(first[4:]))
    (second,) = waiting(setup, out).tables
    fill(table, true_names(first[:4]))
    fill(second, true_names(asked_in(second)))
    (third,) = waiting(setup, out).tables
    assert len(asked_in(third)) == 1  # 12 and one of four late ones before it
    fill(third, true_names(asked_in(third)))
    assert finished(setup, out).rows[0].labels == [6, 13, 17]


def test_ties_are_said(tmp_path: Path, answers: Path) -> None:
    setup, out = make_setup("random", answers=answers), tmp_path / "loop"
    said: list[str] = []
    (table,) = waiting(setup, out).tables
    first = asked_in(table)
    answer(answers / "ada.csv", true_names(first), "ada")
    answer(answers / "bob.csv", {first[0]: str((TRUTH[first[0]] + 1) % 10)}, "bob")
    waiting(setup, out, say=said.append)
    assert f"9 of 10 labelled, 1 skipped or disagreed upon ({IDS[first[0]]})" in said[0]


@pytest.mark.parametrize("test", [None, without_labels(load_dataset("digits", "test"))])
def test_people_are_warned_before_they_label_for_no_accuracy(
    tmp_path: Path, answers: Path, test: Any
) -> None:
    said: list[str] = []
    waiting(make_setup("random", test=test, answers=answers), tmp_path / "a", say=said.append)
    (warning,) = said
    assert warning.startswith("no accuracy will be measured, as digits has no labelled test part")
    assert "PATH/test/<class>/ before anybody labels" in warning
    waiting(make_setup("random", answers=answers), tmp_path / "b", say=said.append)
    assert len(said) == 1


def test_answers_of_another_loop_in_a_folder_are_left_out_with_one_note(
    tmp_path: Path, answers: Path
) -> None:
    setup, out = make_setup("random", answers=answers), tmp_path / "loop"
    said: list[str] = []
    answer(answers / "all.csv", true_names(range(len(TRUTH))))
    (answers / "photos.csv").write_text("id,label\ncat.png,cat\n")
    assert finished(setup, out, say=said.append).rows[0].labels == [10, 20]
    notes = [line for line in said if "ignored" in line]
    others = min(set(range(len(TRUTH))) - set(LoopFolder(out).split(setup.plan.every[1]).indices))
    assert notes == [
        f"ignored {len(TRUTH) - 20 + 1:,} answers about images that no round asked for, the first "
        f"in all.csv, line {others + 2}; they may belong to another loop"
    ]
    (answers / "all.csv").unlink()
    said.clear()
    waiting(make_setup("random", answers=answers), tmp_path / "other", say=said.append)
    assert said[0].startswith("ignored 1 answer about an image that no round asked for, the first")


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
        ("index,id,label\n{asked},cat.png,3\n", r"a\.csv, line 2: image \d+ of digits has the id"),
        ("index,id,label\n{asked},,3\n{asked},{other},3\n", r"a\.csv, line 3: image \d+ of digi"),
        ("id,label\nphoto.png,3\n", r"a\.csv, line 2: no image of the split has the id 'photo"),
        ("index,label\nx,3\n", r"a\.csv, line 2: index 'x' is not an integer"),
    ],
)
@pytest.mark.parametrize("name", ["answers", "answers/a.csv"])
def test_answers_that_mean_nothing_are_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    """In a folder, those about images that nobody asked for are left out instead."""
    setup, out = make_setup("random", answers=tmp_path / name), tmp_path / "loop"
    asked = asked_in(waiting(setup, out).tables[0])
    other = min(set(range(100)) - set(asked))
    (tmp_path / "answers").mkdir()
    words = {"asked": asked[0], "asked2": asked[1], "other": other}
    (tmp_path / "answers" / "a.csv").write_text(text.format(**words))
    if name == "answers" and text.startswith(("index,label\n{other}", "id,label")):
        assert waiting(setup, out).images == 10
    else:
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
    data = load_dataset("digits")
    asked = [make_split(data, Random(), batch_size=len(data))]

    def pile(path: Path) -> Pile:
        return read_pile(path, (), data, asked)

    assert len(pile(answers).answers) == len(pile(tmp_path / "a.csv").answers) == 0
    with pytest.raises(OptionError, match=r"answers\.txt must end in \.csv"):
        pile(tmp_path / "answers.txt")
    answer(answers / "a.csv", {1: "3"})
    (answers / ".b.csv").write_text("nonsense")
    (answers / "notes.txt").write_text("nonsense")
    (answers / "c.csv").write_text(f"index,id,label\n1,{data.ids[1]},3\n")  # the same once more
    (one,) = pile(answers).answers.answers
    assert (one.index, one.choice, one.where) == (1, "3", "a.csv, line 2")
    assert pile(answers).of == {1: [one]} and not pile(answers).foreign
    assert list(pile(answers).answers.record["files"]) == ["a.csv", "c.csv"]
    assert replace(one, where="line 2") == pile(answers / "a.csv").answers.answers[0]
