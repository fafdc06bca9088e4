"""Which images of a choice of both ends were chosen as prototypes, and which as outliers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from split_project import fmsel, read, write_scores

from fmsel.datasets import load_dataset
from fmsel.errors import ArtefactError
from fmsel.selection.density_mix import DensityMix
from fmsel.selection.mixed import Mixed
from fmsel.selection.random import Random
from fmsel.selection.split import Split, make_split
from fmsel.selection.split.known import Known

pytest_plugins = ["split_project"]
pytestmark = pytest.mark.usefixtures("project")


def test_mixed_marks_the_ends_of_every_class() -> None:
    data = load_dataset("digits")
    scores = write_scores(data)
    split = make_split(data, Mixed(ratio=0.25), batch_size=80, scores=scores)
    ink = scores.arrays["self-confidence"]
    for name, count, typical in (("prototypes", 2, True), ("outliers", 6, False)):
        chosen = np.array(split.ends[name])
        for label in range(10):
            own = np.flatnonzero(data.labels == label)
            falling = own[np.argsort(-ink[own])]
            expected = falling[:count] if typical else falling[-count:]
            assert sorted(chosen[data.labels[chosen] == label]) == sorted(expected)
    assert sorted([*split.ends["prototypes"], *split.ends["outliers"]]) == sorted(split.indices)
    assert split.chosen_as()[split.ends["outliers"][0]] == "outlier"
    assert split.chosen_as()[split.ends["prototypes"][0]] == "prototype"


def test_other_choices_mark_none_and_keep_what_is_marked() -> None:
    data = load_dataset("digits")
    pixels = data.images[..., 0].reshape(len(data), -1).astype(np.float32)
    first = make_split(data, Random(), batch_size=4)
    assert first.ends == {} and first.chosen_as() == {}
    known = Known(features=pixels, held=first)
    mixed = make_split(data, DensityMix(clusters=3), batch_size=6, known=known)
    assert [len(mixed.ends[name]) for name in ("prototypes", "outliers")] == [3, 3]
    assert {*mixed.ends["prototypes"], *mixed.ends["outliers"]} == set(mixed.indices[4:])
    mixed.save(Path("mixed.json"))
    held = Split.load(Path("mixed.json"))
    assert held == mixed
    more = make_split(data, Random(), batch_size=5, known=replace(known, held=held))
    assert more.ends == mixed.ends
    again = make_split(data, DensityMix(clusters=3), batch_size=4, known=replace(known, held=held))
    assert again.ends["outliers"][:3] == mixed.ends["outliers"]
    assert [len(again.ends[name]) for name in ("prototypes", "outliers")] == [5, 5]


def test_show_tells_them(capsys: pytest.CaptureFixture[str]) -> None:
    write_scores(load_dataset("digits"))
    fmsel("--protos", "1", "--outliers", "2")
    capsys.readouterr()
    fmsel("show", "splits/mixed.json")
    out = capsys.readouterr().out
    assert "10 prototypes, 20 outliers" in out
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if "│" in line}
    split = read("mixed.json")
    for index in split.indices:
        assert f" {split.chosen_as()[index]} " in rows[str(index)]
    fmsel("--random", "5", "--dataset", "digits")
    capsys.readouterr()
    fmsel("show", "splits/random.json")
    assert "chosen as" not in capsys.readouterr().out


def test_a_split_of_before_which_marks_none_is_read() -> None:
    fmsel("--random", "5", "--dataset", "digits")
    path = Path("splits/random.json")
    record = json.loads(path.read_text())
    del record["ends"]
    now = Split.load(path)
    path.write_text(json.dumps(record))
    assert Split.load(path) == now and now.ends == {}


@pytest.mark.parametrize("ends", [[1], {"prototypes": 3}, {"outliers": ["a"]}])
def test_a_broken_record_is_refused(ends: Any) -> None:
    fmsel("--random", "5", "--dataset", "digits")
    path = Path("splits/random.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ends": ends}))
    with pytest.raises(ArtefactError, match=r"random\.json: .*ends must be a"):
        Split.load(path)
