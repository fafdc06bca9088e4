"""`fmsel split check` and `show` as they are typed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from split_project import fmsel, read, refusal, write_scores

from fmsel.datasets import ImageDataset

pytest_plugins = ["split_project"]
pytestmark = pytest.mark.usefixtures("project")


def edit(path: str, **fields: Any) -> None:
    values = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps(values | fields))


def test_check_says_ok_or_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    fmsel("--random", "4", "--dataset", "digits")
    fmsel("check", "splits/random.json")
    assert "ok: splits/random.json fits digits" in capsys.readouterr().out
    for indices, sentence in [
        ([7, 3, 7], "splits/random.json: index 7 occurs twice (positions 0 and 2)"),
        ([7, -3], "splits/random.json: index -3 at position 1 is outside 0..1437"),
        ([7, 1438], "splits/random.json: index 1438 at position 1 is outside 0..1437"),
    ]:
        edit("splits/random.json", indices=indices)
        assert sentence in refusal(capsys, "check", "splits/random.json")
    edit("splits/random.json", indices=[7, 2000], n=2001)
    sentence = "splits/random.json counts 2001 images in digits, which has 1438"
    assert sentence in refusal(capsys, "check", "splits/random.json")
    edit("splits/random.json", indices=[7], n=1438)
    assert "but its indices choose" in refusal(capsys, "check", "splits/random.json")
    edit("splits/random.json", class_counts={"0": "four"})
    sentence = "splits/random.json: class_counts must be integers of 0 or more, got 'four' of 0"
    assert sentence in refusal(capsys, "check", "splits/random.json")
    edit("splits/random.json", class_counts={}, images_sha256="0" * 64)
    assert "not these 1438 images of digits" in refusal(capsys, "check", "splits/random.json")
    assert "cannot be read as a split" in refusal(capsys, "check", "splits/none.json")


def test_check_against_another_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    fmsel("--random", "4", "--dataset", "digits", "--resize", "12")
    fmsel("check", "splits/random.json")
    answer = refusal(capsys, "check", "splits/random.json", "--dataset", "digits")
    assert "chooses among 1438 images of digits, not these 1438" in answer


def test_show_prints_classes_percentiles_and_origin(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scores(digits)
    fmsel("--protos", "1", "--outliers", "1")
    capsys.readouterr()
    fmsel("show", "splits/mixed.json")
    out = capsys.readouterr().out
    assert "yes, an oracle (formula)" in out and "digits.npz" in out
    assert "every class is there" in out and "Percentile in its class" in out
    first = read("mixed.json").indices[0]  # the best prototype of its class
    row = next(line for line in out.splitlines() if f"│ {first} " in line)
    assert "from other scores" not in out
    half_a_rank = 50 / np.bincount(digits.labels)[digits.labels[first]]
    assert row.count(f" {100 - half_a_rank:.1f} ") == 2 and f" {half_a_rank:.1f} " in row


def test_show_says_when_the_scores_are_not_those_the_split_was_made_from(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scores(digits)
    fmsel("--protos", "1", "--metric", "reverse")
    said = "from other scores than the split was made from"
    for change, expected in (({"self-confidence": 2}, False), ({"reverse": 2}, True)):
        write_scores(digits, "now.npz", scale=change)
        capsys.readouterr()
        fmsel("show", "splits/prototypes.json", "--scores", "now.npz")
        assert (said in capsys.readouterr().out) == expected


def test_show_prints_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that another tool wrote, or a later fmsel."""
    fmsel("--random", "4", "--dataset", "digits")
    edit("splits/random.json", parameters={"odd": [1, None, {"a": 2}]}, provenance={"arrays": 3})
    capsys.readouterr()
    fmsel("show", "splits/random.json")
    assert "1, None, {'a': 2}" in capsys.readouterr().out


def test_show_of_more_images_than_were_scored_takes_no_percentiles(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scores(digits)
    fmsel("--protos", "1")
    edit("splits/prototypes.json", n=2000, indices=[1999])
    capsys.readouterr()
    fmsel("show", "splits/prototypes.json")
    assert "no percentiles" in capsys.readouterr().out


def test_show_falls_back_to_all_images_where_the_images_are_gone(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scores(digits)
    fmsel("--protos", "1")
    source = digits.source.as_dict() | {"dataset": "/nowhere/photos"}
    edit("splits/prototypes.json", source=source)
    capsys.readouterr()
    fmsel("show", "splits/prototypes.json")
    assert "Percentile in all images" in capsys.readouterr().out


def test_show_refuses_named_scores_of_other_images(
    digits: ImageDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    fmsel("--random", "4", "--dataset", "digits")
    write_scores(digits, "other.npz", images_sha256="0" * 64)
    answer = "other.npz scores images of digits that are not those of the split"
    assert answer in refusal(capsys, "show", "splits/random.json", "--scores", "other.npz")


def test_show_names_missing_classes_and_works_without_scores(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fmsel("--random", "1", "--dataset", "digits")
    capsys.readouterr()
    fmsel("show", "splits/random.json")
    out = capsys.readouterr().out
    assert out.count("none ") == 9 and "missing: " in out
    assert "no, label-free" in out and "no percentiles" in out
