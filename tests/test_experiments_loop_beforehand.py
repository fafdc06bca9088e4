"""What can be known before the first training is said then, and nothing is written."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_experiments_loop import RECIPE, finished, make_setup, without_labels

from fmsel.datasets import ImageDataset, load_dataset
from fmsel.datasets.published import PublishedSets
from fmsel.errors import BudgetError, DataError, DeviceError, FmselError, OptionError
from fmsel.experiments.loop.folder import LoopFolder
from fmsel.experiments.loop.label import Waiting
from fmsel.experiments.loop.plan import Round, Stage
from fmsel.experiments.loop.run import run_loop
from fmsel.fixmatch.run.job import Options
from fmsel.selection.density_mix import DensityMix
from fmsel.selection.pool.extremes import Band
from fmsel.selection.published import Published
from fmsel.selection.split.known import Known


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may come to training, except where a test says so."""
    monkeypatch.setattr("fmsel.experiments.loop.run.train_jobs", None)


def small(data: ImageDataset, part: slice, side: int = 8) -> ImageDataset:
    images = data.images[part, :side, :side]
    return replace(data, images=np.ascontiguousarray(images), labels=data.labels[part])


@pytest.mark.parametrize(
    ("steps", "every", "least"), [(5, 5, None), (6, 5, 6), (3, 9, None), (10, 5, 10)]
)
def test_instability_needs_two_evaluations_of_the_recipe(
    steps: int, every: int, least: int | None
) -> None:
    config = replace(RECIPE, steps=steps, eval_every=every)
    if least is not None:
        make_setup("instability", config=config)
        return
    with pytest.raises(
        OptionError, match=rf"of {steps} steps only the last is .* pass --steps {every + 1} or more"
    ):
        make_setup("instability", config=config)


def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    """A set of ten images of digits."""
    found = Published()._find()[0]
    indices = np.arange(len(found.names) * 10).reshape(-1, 10)
    monkeypatch.setattr(PublishedSets, "matches", lambda self, data: True)
    monkeypatch.setattr(
        "fmsel.selection.published.published_sets",
        lambda: {"fixmatch-7": (replace(found, n=1438, indices=indices), 7)},
    )
    return Published("fixmatch-7")


@pytest.mark.parametrize("people", [False, True])
def test_a_published_set_that_is_too_small_for_the_last_budget_is_refused(
    people: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = tmp_path / "answers" if people else None
    strategies = [published(monkeypatch)]
    setup = make_setup(strategies=strategies, budgets=(5, 10, 20), answers=answers)
    with pytest.raises(
        BudgetError,
        match=r"published, seed 0, round 2, 20 labels in all: cannot choose 10 images of the set "
        r"fixmatch-7: of its 10 images 0 may be chosen",
    ):
        run_loop(setup, tmp_path / "loop")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("people", [False, True])
def test_a_later_round_that_finds_too_few_is_refused(people: bool, tmp_path: Path) -> None:
    """Ten clusters of 80 images or more have 8 each in the band; the first round asks for 4."""
    strategy = DensityMix(ratio=0.0, outlier_band=Band(0, 10))
    answers = tmp_path / "answers" if people else None
    setup = make_setup(strategies=[strategy], budgets=(40, 1000), answers=answers)
    with pytest.raises(BudgetError, match="round 1, 1000 labels in all: the outlier band 0-10 of"):
        run_loop(setup, tmp_path / "loop")
    assert not any(tmp_path.iterdir())


def test_the_start_is_asked_for_its_own_round_alone(tmp_path: Path) -> None:
    """`random_stratified` could not give 1,430 labels, and need not."""
    start = make_setup("random_stratified").strategies[0]
    setup = make_setup("margin", start=start, budgets=(10, 1430), answers=tmp_path / "answers")
    assert isinstance(run_loop(setup, tmp_path / "loop"), Waiting)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"side": 6}, DataError, "images of 6 pixels are too small; use at least 8"),
        ({"test_side": 7}, DataError, "the test part of digits has images of 7 x 7"),
        ({"options": Options(device="cuda:9")}, DeviceError, "cuda:9"),
        ({"options": Options(device="cpu", precision="half")}, OptionError, "precision 'half'"),
        ({"config": replace(RECIPE, prior="labelled")}, OptionError, "an image of every class"),
        ({"config": replace(RECIPE, prior="0.5,0.5")}, OptionError, "prior has 2 shares"),
    ],
)
def test_what_cannot_be_trained_is_refused_first(
    changes: dict[str, Any], error: type[FmselError], message: str, tmp_path: Path
) -> None:
    side, test_side = changes.pop("side", 8), changes.pop("test_side", 0)
    setup = make_setup("random", budgets=(5, 10), **changes)
    setup = replace(
        setup,
        data=small(setup.data, slice(None), side),
        test=small(load_dataset("digits", "test"), slice(None), test_side or side),
    )
    with pytest.raises(error, match=message):
        run_loop(setup, tmp_path / "loop")
    assert not any(tmp_path.iterdir())


def test_what_reads_no_run_is_chosen_before_the_first_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = make_setup("margin", "k_center", "random_stratified", budgets=(10, 20, 30), seeds=2)
    folder, seen = LoopFolder(tmp_path / "loop"), list[dict[Round, Stage]]()

    class Stop(Exception):
        pass

    def noted(*_: object) -> None:
        seen.append({each: folder.stage(each) for each in setup.plan.every})
        raise Stop

    monkeypatch.setattr("fmsel.experiments.loop.run._train", noted)
    with pytest.raises(Stop):
        run_loop(setup, folder.path)
    late = {each for each in setup.plan.every if each.strategy == "margin"}
    assert {each for each, stage in seen[0].items() if stage is Stage.CHOOSE} == late
    assert len(late) == 4 and len(seen[0]) == 18


def test_with_people_later_rounds_wait_for_the_answers_before(tmp_path: Path) -> None:
    data = without_labels(load_dataset("digits"))
    setup = make_setup("density_mix", data=data, budgets=(10, 20), answers=tmp_path / "answers")
    assert isinstance(run_loop(setup, tmp_path / "loop"), Waiting)
    folder = LoopFolder(tmp_path / "loop")
    assert [folder.stage(each) for each in setup.plan.every] == [Stage.LABEL, Stage.CHOOSE]


def test_budgets_are_compared_with_what_may_be_chosen() -> None:
    data = load_dataset("digits")
    out = np.arange(1400)
    sentence = r"up to 20 labels, but {} of the 1438 training images of digits can be chosen"
    for heeds, most in (
        (Known(excluded=np.arange(1420)), 18),
        (Known(groups=np.arange(1438) % 19), 19),
        (Known(excluded=out, groups=np.arange(1438) // 2), 19),
    ):
        with pytest.raises(BudgetError, match=sentence.format(most)):
            make_setup("random", data=data, heeds=heeds)
        make_setup("random", data=data, heeds=heeds, budgets=(10, most))


def test_a_loop_of_choices_made_beforehand_ends_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder whose later choices are not there yet, as of a killed process, gets the same."""
    monkeypatch.undo()
    setup = make_setup("random", "k_center", budgets=(10, 20))
    whole = finished(setup, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("fmsel.experiments.loop.run.choose_beforehand", lambda *_: {})
        assert finished(setup, tmp_path / "one by one") == whole
    for each in setup.plan.every:
        one, other = (LoopFolder(tmp_path / name) for name in ("whole", "one by one"))
        assert one.split(each) == other.split(each)
