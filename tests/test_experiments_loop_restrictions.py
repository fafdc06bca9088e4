"""Exclusions, groups and near-duplicates hold in every round of every track."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_experiments_loop import finished, make_setup, without_labels
from test_experiments_loop_people import answer, true_names, waiting

from fmsel.datasets import load_dataset
from fmsel.errors import ArtefactError
from fmsel.experiments.loop.folder import LoopFolder
from fmsel.experiments.loop.plan import Round
from fmsel.selection.split.known import Known

COUNT = len(load_dataset("digits"))


def test_no_round_takes_an_excluded_image_or_two_of_one_group(tmp_path: Path) -> None:
    """Of forty groups most are held in the last round, so nearly all would meet a mate."""
    groups = np.random.default_rng(0).integers(0, 40, COUNT)
    excluded = np.random.default_rng(1).permutation(COUNT)[:700]
    heeds = Known(groups=groups, excluded=excluded, provenance={"files": {"groups": "g.csv"}})
    names = ("random", "k_center", "margin", "badge", "random_stratified")
    setup = make_setup(*names, budgets=(10, 20, 36), heeds=heeds)
    folder = LoopFolder(tmp_path / "loop")
    finished(setup, folder.path)
    for each in setup.plan.every:
        split = folder.split(each)
        assert len(split) == setup.budgets[each.number]
        assert len(np.unique(groups[split.index_array])) == len(split)
        assert not np.isin(split.index_array, excluded).any()
        assert split.provenance["groups"]["number"] == 40
        assert split.provenance["excluded"]["images"] == 700
        assert split.provenance["files"] == {"groups": "g.csv"}
    record = json.loads((folder.path / "loop.json").read_text())
    assert record["restrictions"]["groups"]["number"] == 40
    assert record["restrictions"]["excluded"]["images"] == 700


def test_a_loop_goes_on_with_the_restrictions_that_it_was_begun_with(tmp_path: Path) -> None:
    heeds = Known(groups=np.arange(COUNT) // 2, provenance={"files": {"groups": "g.csv"}})
    usual: dict[str, Any] = {"answers": tmp_path / "answers", "budgets": (4, 8)}
    out = tmp_path / "loop"
    waiting(make_setup("random", heeds=heeds, **usual), out)
    moved = replace(heeds, provenance={"files": {"groups": "elsewhere.csv"}})
    waiting(make_setup("random", heeds=moved, **usual), out)
    others = {
        "its restrictions groups number was 719, now it is 480;": replace(
            heeds, groups=np.arange(COUNT) // 3
        ),
        "its restrictions groups sha256 was": replace(heeds, groups=np.arange(COUNT) % 719),
        "its restrictions were given, now they are not given;": Known(),
        "its restrictions excluded was not given, now it is given;": replace(
            heeds, excluded=np.array([3])
        ),
    }
    for message, other in others.items():
        with pytest.raises(ArtefactError, match=message):
            waiting(make_setup("random", heeds=other, **usual), out)
    free = tmp_path / "free"
    waiting(make_setup("random", **usual), free)
    assert json.loads((free / "loop.json").read_text())["restrictions"] is None


def test_an_image_that_was_skipped_is_not_labelled_beside_one_of_its_group(tmp_path: Path) -> None:
    """Eight pairs; the later round takes the mate of the skipped image, whose class comes then."""
    allowed = np.random.default_rng(2).permutation(COUNT)[:16]
    groups = np.arange(COUNT)
    groups[allowed[1::2]] = allowed[::2]
    heeds = Known(groups=groups, excluded=np.setdiff1d(np.arange(COUNT), allowed))
    data, answers = without_labels(load_dataset("digits")), tmp_path / "answers"
    setup = make_setup("random", data=data, budgets=(4, 8), answers=answers, heeds=heeds)
    folder = LoopFolder(tmp_path / "loop")
    waiting(setup, folder.path)
    first, second = Round("random", 0, 0), Round("random", 0, 1)
    asked = folder.asked(first)
    assert asked is not None
    skipped, *known = asked.indices
    answer(answers / "1.csv", {skipped: "skip", **true_names(known)})
    waiting(setup, folder.path)
    asked = folder.asked(second)
    assert asked is not None and len(asked) == 8
    assert groups[skipped] in groups[asked.index_array]
    said = list[str]()
    answer(answers / "2.csv", true_names([skipped, *asked.indices[3:]]), "Bob")
    finished(setup, folder.path, say=said.append)
    split = folder.split(second)
    assert sorted(split.indices) == sorted(asked.indices)
    assert len(np.unique(groups[split.index_array])) == 8
    assert not any("too late" in line for line in said)
