"""The split that people's answers make, and when it is written."""

from pathlib import Path

import pytest
from label_client import DIGITS, answer, items, opened, send

from fmsel.errors import OptionError, OutputError
from fmsel.labeling.page.run import Options, prepare
from fmsel.selection.split import Split

pytest_plugins = ["label_client"]
pytestmark = pytest.mark.usefixtures("label_project")


def test_the_split_is_written_at_the_end_and_whenever_somebody_asks() -> None:
    out = Path("splits/random-labelled.json")
    with opened() as (task, client):
        order, truth = task.indices, DIGITS.labels
        assert "holds no answers" in send(client, "/api/finish", 409, annotator="ann")["error"]
        for index in order[:2]:
            answer(client, index, str(truth[index]))
        assert not out.exists()
        finished = send(client, "/api/finish", annotator="ann")
        assert finished == {"wrote": str(out), "labelled": 2, "awaited": 4}
        assert Split.load(out).awaited == 4
        answer(client, order[2], "skip")
        for index in order[3:]:
            answer(client, index, str(truth[index]))
        made = Split.load(out)  # nothing is left to ask
        assert made.awaited == 1 and made.labels is not None
        assert [label for label in made.labels if label >= 0] == truth[
            order[:2] + order[3:]
        ].tolist()
        assert made.indices == task.split.indices
        record = made.provenance["labels"][-1]
        assert record["annotators"] == {"ann": 5} and record["file"] == "random-answers.jsonl"
        answer(client, order[2], "7", replaces=3)
        assert Split.load(out).awaited == 0


def test_a_split_that_was_deleted_is_written_again() -> None:
    out = Path("splits/random-labelled.json")
    with opened() as (task, client):
        answer(client, task.indices[0], "3")
        send(client, "/api/finish", annotator="ann")
        before = out.read_bytes()
        out.unlink()
        send(client, "/api/finish", annotator="ann")
        assert out.read_bytes() == before


def test_where_people_differ_the_option_decides() -> None:
    for agreement, label in (("majority", 3), ("all", -1)):
        Path("splits/random-labelled.json").unlink(missing_ok=True)
        with opened(agreement=agreement, votes=3) as (task, client):
            index = task.indices[0]
            if not task.outcome.journal.entries:
                for name, choice in (("a", "3"), ("b", "3"), ("c", "4")):
                    assert items(client)[0]["answer"] is None
                    answer(client, index, choice, annotator=name)
            send(client, "/api/finish", annotator="a")
            labels = Split.load(Path("splits/random-labelled.json")).labels
            assert labels is not None and labels[0] == label


def test_only_a_split_of_this_journal_is_replaced() -> None:
    out = Path("splits/random-labelled.json")
    with opened() as (task, client):
        answer(client, task.indices[0], "3")
        send(client, "/api/finish", annotator="ann")
    with opened() as (task, client):  # its own
        answer(client, task.indices[1], "3")
        send(client, "/api/finish", annotator="ann")
    assert Split.load(out).awaited == 4
    for content in ("mine", "{}", Path("splits/random.json").read_text()):
        out.write_text(content)
        with pytest.raises(OutputError, match=r"already exists and was not made of .*pass --force"):
            prepare(Path("splits/random.json"), Options(everything=True))
        assert out.read_text() == content
    with opened(force=True) as (task, client):
        send(client, "/api/finish", annotator="ann")
    assert Split.load(out).awaited == 4
    Path("splits/random-answers.jsonl").rename("old.jsonl")
    with pytest.raises(OutputError, match="was not made of"):
        prepare(Path("splits/random.json"), Options(everything=True))
    assert not Path("splits/random-answers.jsonl").exists()


def test_labels_that_people_gave_before_are_asked_again_only_with_relabel() -> None:
    with opened() as (task, client):
        first = task.indices[0]
        answer(client, first, "3")
        send(client, "/api/finish", annotator="ann")
    again = "splits/random-labelled.json"
    with opened(again) as (task, client):
        assert task.indices == list(task.split.indices[1:])
        assert task.label(first) == "3"
    with pytest.raises(OptionError, match=r"--all also shows .*pass --relabel too"):
        prepare(Path(again), Options(everything=True))
    with opened(again, everything=True, relabel=True) as (task, client):
        assert task.indices[0] == first
        answer(client, first, "4")
        send(client, "/api/finish", annotator="ann")
    labels = Split.load(Path("splits/random-labelled-labelled.json")).labels
    assert labels is not None and labels[0] == 4
