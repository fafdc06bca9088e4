"""Answers into labels: who wins where people differ, and what a split keeps."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import multimode
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmsel.datasets import ImageDataset, Source, WeakAugment
from fmsel.errors import ArtefactError, DataError, OptionError
from fmsel.labeling import Answer, Answers, apply_answers
from fmsel.labeling.answers import parse_index, parse_time
from fmsel.labeling.apply import drop_unlabelled, last_record, parse_agreement
from fmsel.selection.random import Random
from fmsel.selection.split import Split, make_split

NOON = datetime(2024, 5, 31, 12, tzinfo=UTC)
NAMES = ("cat", "dog", "emu")


def make_data(labels: Sequence[int], names: tuple[str, ...] = NAMES) -> ImageDataset:
    n = len(labels)
    return ImageDataset(
        name="toy",
        source=Source(dataset="toy"),
        part="train",
        images=np.random.default_rng(0).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8),
        labels=np.array(labels, dtype=np.int64),
        ids=np.array([f"{i}.png" for i in range(n)]),
        class_names=names,
        weak=WeakAugment(),
    )


DATA = make_data([-1] * 20)
SPLIT = make_split(DATA, Random(), batch_size=4, seed=1)


def said(place: int, choice: str, annotator: str = "ann", **fields: Any) -> Answer:
    values: dict[str, Any] = {
        "where": f"line {place + 2}",
        "index": SPLIT.indices[place],
        "id": None,
    } | fields
    return Answer(choice=choice, annotator=annotator, **values)


def answers(*each: Answer) -> Answers:
    return Answers(source="a.csv", record={"file": "a.csv"}, answers=each)


def labels(*each: Answer, split: Split = SPLIT, **options: Any) -> list[int]:
    made = apply_answers(split, DATA, answers(*each), **options)
    assert made.indices == split.indices
    made.validate("made")
    made.check(DATA, "made")
    assert made.labels is not None
    return list(made.labels)


def test_images_without_an_answer_wait() -> None:
    made = apply_answers(SPLIT, DATA, answers(said(0, "emu"), said(2, " cat ")))
    assert made.labels == [2, -1, 0, -1] and made.awaited == 2
    assert made.class_counts == {"cat": 1, "dog": 0, "emu": 1}
    assert last_record(made) == {
        "file": "a.csv",
        "agreement": "majority",
        "annotators": {"ann": 2},
        "labelled": 2,
        "disagreements": 0,
        "skipped": 0,
        "replaced": 0,
        "unanswered": 2,
        "no_class": {},
    }


def test_an_id_names_an_image_as_well_as_an_index() -> None:
    name = str(DATA.ids[SPLIT.indices[3]])
    assert labels(said(3, "dog", index=None, id=name)) == [-1, -1, -1, 1]
    assert labels(said(3, "dog", id=name)) == [-1, -1, -1, 1]


CHOICES = ["cat", "dog", "emu", "", "unsure"]
VOTES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abcde"), st.sampled_from(CHOICES)),
    min_size=1,
    unique_by=lambda vote: vote[:2],
)


@given(votes=VOTES)
def test_the_class_that_most_chose_wins_and_ties_wait(votes: list[tuple[int, str, str]]) -> None:
    each = [said(place, choice, who) for place, who, choice in votes]
    by_place = [[c for p, _, c in votes if p == place and c in NAMES] for place in range(4)]
    modes = [multimode(chosen) for chosen in by_place]  # [] without votes
    expected = [NAMES.index(m[0]) if len(m) == 1 else -1 for m in modes]
    assert labels(*each) == expected
    unanimous = [NAMES.index(c[0]) if len(set(c)) == 1 else -1 for c in by_place]
    assert labels(*each, agreement="all") == unanimous
    record = last_record(apply_answers(SPLIT, DATA, answers(*each)))
    seen = {place for place, _, _ in votes}
    assert record["disagreements"] == sum(len(m) > 1 for m in modes)
    assert record["skipped"] == sum(not by_place[place] for place in seen)
    assert record["labelled"] == sum(label >= 0 for label in expected)
    assert sum(record["annotators"].values()) == sum(c in NAMES for _, _, c in votes)
    assert sum(record["no_class"].values()) == sum(c not in NAMES for _, _, c in votes)


@given(order=st.permutations(range(4)))
def test_an_annotators_latest_answer_counts_in_any_order_of_the_file(order: list[int]) -> None:
    choices = ["cat", "dog", "", "emu"]
    each = [said(0, choices[i], time=NOON + timedelta(minutes=i)) for i in order]
    assert labels(*each) == [2, -1, -1, -1]


def test_a_later_skip_takes_an_answer_back_and_equal_times_follow_the_file() -> None:
    first, later = said(0, "cat", time=NOON), said(0, "", time=NOON + timedelta(seconds=1))
    assert labels(first, later) == [-1] * 4
    assert labels(said(0, "cat", time=NOON), said(0, "dog", time=NOON)) == [1, -1, -1, -1]


def test_no_class_is_no_vote_and_is_counted() -> None:
    each = [said(0, "Unsure"), said(0, "cat", "ben"), said(1, "NONE of these"), said(2, "skip")]
    made = apply_answers(SPLIT, DATA, answers(*each, said(3, "", "ben")))
    assert made.labels == [0, -1, -1, -1]
    assert last_record(made)["no_class"] == {"none of these": 1, "skip": 2, "unsure": 1}


def test_a_class_may_be_called_unsure() -> None:
    data = make_data([-1] * 20, ("sure", "unsure"))
    assert apply_answers(SPLIT, data, answers(said(0, "unsure"))).labels == [1, -1, -1, -1]


def test_later_files_add_to_earlier_ones_and_never_take_away() -> None:
    once = apply_answers(SPLIT, DATA, answers(said(0, "cat"), said(1, "dog")))
    more = [said(0, "cat", "ben"), said(1, "unsure", "ben"), said(2, "emu", "ben")]
    twice = apply_answers(once, DATA, answers(*more))
    assert twice.labels == [0, 1, 2, -1]
    assert [entry["annotators"] for entry in twice.provenance["labels"]] == [{"ann": 2}, {"ben": 2}]
    tie = [said(0, "emu", "ben"), said(0, "dog", "cyd")]
    assert labels(*tie, split=once) == [0, 1, -1, -1]


def test_other_labels_than_before_need_relabel() -> None:
    once = apply_answers(SPLIT, DATA, answers(said(0, "cat"), said(1, "dog")))
    other = answers(said(0, "cat"), said(1, "emu"))
    index = SPLIT.indices[1]
    with pytest.raises(
        ArtefactError, match=f"a.csv, line 3: image {index} is 'emu' here and 'dog' in.*--relabel"
    ):
        apply_answers(once, DATA, other)
    outvoted = [said(1, "cat", "x"), said(1, "emu", "y", where="line 8"), said(1, "emu", "z")]
    with pytest.raises(ArtefactError, match=r"line 8: image .* is 'emu' here .*in all: 1"):
        apply_answers(once, DATA, answers(*outvoted))
    made = apply_answers(once, DATA, other, relabel=True)
    assert made.labels == [0, 2, -1, -1] and last_record(made)["replaced"] == 1


def test_the_data_sets_labels_do_not_enter_where_people_label_afresh() -> None:
    data = make_data([0, 1, 2, 0] * 5)
    split = make_split(data, Random(), batch_size=4, seed=1)
    index = split.indices[0]
    wrong = NAMES[(data.labels[index] + 1) % 3]
    answer = Answer(where="line 2", index=index, id=None, choice=wrong)
    made = apply_answers(split, data, answers(answer))
    assert made.labels == [NAMES.index(wrong), -1, -1, -1]
    assert sum(made.class_counts.values()) == 1
    assert last_record(made)["annotators"] == {"unnamed": 1}


def test_where_the_data_set_has_some_labels_they_stay() -> None:
    some = np.full(20, -1)
    some[SPLIT.indices[0]] = 2
    data = make_data(some.tolist())
    split = make_split(data, Random(), batch_size=4, seed=1)
    assert split.indices == SPLIT.indices
    assert apply_answers(split, data, answers(said(1, "dog"))).labels == [2, 1, -1, -1]
    with pytest.raises(ArtefactError, match="is 'cat' here and 'emu' in the split"):
        apply_answers(split, data, answers(said(0, "cat")))


OUTSIDE = next(i for i in range(20) if i not in SPLIT.indices)
BAD = [
    ([said(0, "catt")], "a.csv, line 2: 'catt' is no class of toy, did you mean 'cat'; the cl"),
    ([said(0, "dgo")], "did you mean 'dog'"),
    ([said(0, "zzz")], "'zzz' is no class of toy; the classes are cat, dog, emu"),
    ([said(0, "1")], r"'1' is no class of toy \(labels are names, and class 1 is 'dog'\)"),
    ([said(0, "7")], "'7' is no class of toy"),
    ([said(0, "cat", index=OUTSIDE)], f"image {OUTSIDE} is not among the split's 4 images"),
    ([said(0, "cat", index=99)], "image 99 is not among the split's 4 images"),
    ([said(0, "cat", id="zzz")], "has the id '.*png', not 'zzz'; the answers may be of another"),
    ([said(0, "cat", index=None, id="x.png")], "no image of the split has the id 'x.png', did"),
    ([said(0, "cat", dataset="svhn")], "an image of svhn, but the split is of toy"),
    (
        [said(0, "cat"), said(0, "dog", where="line 9")],
        "line 9: ann .* before .line 2., and no tim",
    ),
    (
        [said(0, "cat", ""), said(0, "dog", "", time=NOON)],
        "an unnamed annotator .* so name the ann",
    ),
    (
        [said(0, "cat", "", time=NOON), said(0, "skip", "", time=NOON)],
        "an unnamed annotator answered otherwise about this image before",
    ),
    (
        [said(0, "dgo"), said(1, "cat"), said(2, "zzz"), said(3, "cat", index=99)],
        "a.csv holds 3 mistakes: line 2: 'dgo' is no class of toy, did you mean 'dog'; line 4: "
        "'zzz' is no class of toy; line 5: image 99 is not .*; the classes are cat, dog, emu$",
    ),
    ([], "a.csv holds no answers; fill in some labels first"),
]


@pytest.mark.parametrize(("each", "sentence"), BAD)
def test_what_cannot_be_meant_is_refused(each: list[Answer], sentence: str) -> None:
    with pytest.raises(ArtefactError, match=sentence):
        apply_answers(SPLIT, DATA, answers(*each))


def test_the_first_ten_of_more_mistakes_are_told() -> None:
    each = [said(0, "zzz", where=f"line {line}") for line in range(2, 14)]
    with pytest.raises(ArtefactError, match="holds more than 10 mistakes, first: line 2: ") as told:
        apply_answers(SPLIT, DATA, answers(*each))
    assert str(told.value).count("'zzz'") == 10 and "line 11: " in str(told.value)
    with pytest.raises(ArtefactError, match="holds 10 mistakes: "):
        apply_answers(SPLIT, DATA, answers(*each[:10]))
    once = apply_answers(SPLIT, DATA, answers(*(said(place, "cat") for place in range(4))))
    with pytest.raises(ArtefactError, match=r"line 3: image .*; line 4: .* in all: 2") as told:
        apply_answers(once, DATA, answers(said(1, "dog"), said(2, "emu")))
    assert str(told.value).count("in the split") == 2


def test_capitals_are_nothing_unless_classes_differ_in_them() -> None:
    assert labels(said(0, "CAT"), said(1, " Dog "), said(2, "emU")) == [0, 1, 2, -1]
    data = make_data([-1] * 20, ("cat", "Cat", "STRASSE", "Skip"))
    each = [said(0, "Cat"), said(1, "cat"), said(2, "straße"), said(3, "Skip")]
    assert apply_answers(SPLIT, data, answers(*each)).labels == [1, 0, 2, 3]
    assert apply_answers(SPLIT, data, answers(said(0, "skip"))).labels == [-1] * 4
    with pytest.raises(
        ArtefactError, match=r"'CAT' is no class of toy \(it may be 'cat' or 'Cat'\);"
    ):
        apply_answers(SPLIT, data, answers(said(0, "CAT")))


def test_a_repeated_row_is_one_answer() -> None:
    for who in ("ann", ""):
        each = [said(0, "cat", who), said(0, "Cat", who), said(1, "skip", who), said(0, "cat", who)]
        made = apply_answers(SPLIT, DATA, answers(*each, said(0, "dog", "ben")))
        assert made.labels == [-1] * 4  # one vote against one
        assert last_record(made)["annotators"] == {who or "unnamed": 1, "ben": 1}


def test_what_nobody_could_label_may_be_left_out() -> None:
    made = apply_answers(SPLIT, DATA, answers(said(1, "dog"), said(2, "skip"), said(3, "cat")))
    left = drop_unlabelled(made)
    left.validate("left")
    left.check(DATA, "left")
    assert left.indices == [SPLIT.indices[1], SPLIT.indices[3]] and left.labels == [1, 0]
    assert left.awaited == 0 and left.class_counts == {"cat": 1, "dog": 1, "emu": 0}
    dropped = [SPLIT.indices[0], SPLIT.indices[2]]
    assert last_record(left) == {**last_record(made), "dropped": dropped}
    assert left.sha256 != made.sha256
    none = apply_answers(SPLIT, DATA, answers(said(0, "skip")))
    with pytest.raises(ArtefactError, match="none of the split's 4 images has a label"):
        drop_unlabelled(none)


def test_a_spreadsheet_may_write_an_index_as_a_fraction() -> None:
    assert [parse_index(text, "x") for text in ("31", "31.0", "31.000")] == [31] * 3
    for text in ("31.5", "31.", ".0", "3e1", "-31.0", "٣", "1_0"):
        with pytest.raises(ArtefactError, match=r"line 2: index .* is not an integer of"):
            parse_index(text, "line 2")


def test_other_images_and_missing_classes_are_refused() -> None:
    with pytest.raises(ArtefactError, match="the split chooses among 20 images of toy"):
        apply_answers(SPLIT, make_data([-1] * 21), answers(said(0, "cat")))
    with pytest.raises(DataError, match=r"toy has no classes .* in a file classes\.txt beside"):
        apply_answers(SPLIT, make_data([-1] * 20, ()), answers(said(0, "cat")))
    with pytest.raises(OptionError, match="agreement must be majority or all, got 'most'"):
        parse_agreement("most")


def test_a_split_with_an_odd_record_can_be_labelled() -> None:
    odd = replace(SPLIT, provenance={"labels": "mine", "scores": "a.npz"})
    made = apply_answers(odd, DATA, answers(said(0, "cat")))
    assert made.provenance["scores"] == "a.npz" and last_record(made)["labelled"] == 1


def test_times_without_a_zone_are_utc() -> None:
    assert parse_time("2024-05-31T12:00:00", "x") == parse_time("2024-05-31T12:00:00Z", "x")
    assert parse_time("2024-05-31T14:00:00+02:00", "x") == NOON
    with pytest.raises(ArtefactError, match="line 2: time 'noon' is not of ISO 8601"):
        parse_time("noon", "line 2")
