"""Loops choose by what was learned, and end the same however they were stopped."""

import json
import multiprocessing
import random
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from held_lock import held_elsewhere

from fmsel.artefacts import sha256_file
from fmsel.cli.app import main
from fmsel.datasets import ImageDataset, load_dataset
from fmsel.errors import ArtefactError, BudgetError, DataError, OptionError, OutputError
from fmsel.experiments.loop.folder import LoopFolder
from fmsel.experiments.loop.plan import Round, Stage
from fmsel.experiments.loop.results import LoopResults
from fmsel.experiments.loop.run import run_loop
from fmsel.experiments.loop.setup import Setup, parse_strategies
from fmsel.fixmatch.presets import SMOKE
from fmsel.fixmatch.run.job import Options
from fmsel.fixmatch.use.outputs import run_outputs
from fmsel.selection.probcover import Probcover
from fmsel.selection.random import Random
from fmsel.selection.split import Split, make_split
from fmsel.selection.split.known import Known

RECIPE = replace(SMOKE, steps=6, eval_every=3)


def make_setup(*strategies: str, budgets: tuple[int, ...] = (10, 20), **changes: Any) -> Setup:
    """A loop on digits with pixels as features, one seed."""
    data = load_dataset("digits")
    pixels = data.images.reshape(len(data), -1).astype(np.float32)
    values: dict[str, Any] = {
        "data": data,
        "test": load_dataset("digits", "test"),
        "strategies": parse_strategies(strategies, ()),
        "start": Random(),
        "budgets": budgets,
        "seeds": 1,
        "config": RECIPE,
        "options": Options(device="cpu", precision="fp32", progress=False),
        "embedding": Known(features=pixels, provenance={"embeddings": {"file": "pixels"}}),
    }
    return Setup(**{**values, **changes})


def finished(setup: Setup, out: Path, **options: Any) -> LoopResults:
    results = run_loop(setup, out, **options)
    assert isinstance(results, LoopResults)
    return results


def without_labels(data: ImageDataset) -> ImageDataset:
    return replace(data, labels=np.full(len(data), -1, dtype=np.int64))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Setup, LoopFolder, LoopResults]:
    """Two seeds of margin, probcover and random_stratified, with three rounds each."""
    setup = make_setup("margin", "probcover", "random_stratified", budgets=(10, 20, 25), seeds=2)
    out = tmp_path_factory.mktemp("three") / "loop"
    return setup, LoopFolder(out), finished(setup, out)


Loop = tuple[Setup, LoopFolder, LoopResults]


def test_every_round_keeps_the_labels_before_and_adds_new_ones(three: Loop) -> None:
    setup, folder, _ = three
    for track in setup.plan.tracks:
        chosen = [list(folder.split(each).indices) for each in track]
        assert [len(each) for each in chosen] == [10, 20, 25]
        assert chosen[1][:10] == chosen[0] and chosen[2][:20] == chosen[1]
        assert len(set(chosen[2])) == 25


def test_margin_chooses_what_the_first_run_was_least_sure_of(three: Loop) -> None:
    """By hand from the run of the round before: the least differences of the two best classes."""
    setup, folder, _ = three
    for seed in range(2):
        track = setup.plan.track("margin", seed)
        for before, each in pairwise(track):
            held = folder.split(before).indices
            outputs = run_outputs(folder.run(before), setup.data)
            best = np.sort(outputs.probabilities.astype(np.float64), axis=1)
            margins = best[:, -1] - best[:, -2]
            margins[list(held)] = np.inf
            new = list(folder.split(each).indices)[len(held) :]
            np.testing.assert_array_equal(np.sort(margins[new]), np.sort(margins)[: len(new)])
            assert folder.split(each).provenance["run"]["round"] == before.folder.as_posix()


def test_the_start_is_random_s_own_first_round_and_runs_once(three: Loop) -> None:
    setup, folder, results = three
    for seed in range(2):
        first = folder.split(Round("random", seed, 0))
        assert first.strategy == "random"
        expected = make_split(setup.data, Random(), batch_size=10, seed=seed)
        assert list(first.indices) == list(expected.indices)
    margin = results.rows[0]
    assert (margin.start, margin.tracks[1].rounds[0]) == ("random", "tracks/random-seed1/round-0")
    assert not folder.round(Round("random", 0, 1)).exists()
    assert [row.start for row in results.rows[1:]] == [None, None]


def test_a_strategy_of_features_reads_the_embedding(three: Loop) -> None:
    setup, folder, _ = three
    assert setup.embedding is not None
    first = make_split(setup.data, Probcover(), batch_size=10, known=setup.embedding)
    held = folder.split(Round("probcover", 0, 0))
    assert list(held.indices) == list(first.indices)
    known = replace(setup.embedding, held=held)
    second = make_split(
        setup.data,
        Probcover(),
        batch_size=10,
        known=known,
        seed=Round("probcover", 0, 1).selection_seed,
    )
    assert list(folder.split(Round("probcover", 0, 1)).indices) == list(second.indices)


def test_results_are_those_of_the_runs(three: Loop) -> None:
    _, folder, results = three
    assert [row.oracle for row in results.rows] == [False, False, True]
    for row in results.rows:
        for track in row.tracks:
            summaries = [
                json.loads((folder.path / each / "run" / "summary.json").read_text())
                for each in track.rounds
            ]
            assert list(track.accuracies) == [each["accuracy"] for each in summaries]
            assert track.labels == (10, 20, 25)
            x, y = np.log([10, 20, 25]), [each["accuracy"] for each in summaries]
            area = np.trapezoid(y, x) / (x[-1] - x[0])
            assert row.areas[track.seed] == pytest.approx(area)
    assert results.baselines == ("random_stratified",)
    rival = results.rows[0].against["random_stratified"]
    assert sum(rival.tally) == 6 and rival.gain.low is None
    assert not results.rows[2].against and not results.short


def test_a_finished_loop_trains_nothing_again(three: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, folder, results = three
    monkeypatch.setattr("fmsel.experiments.loop.run.train_jobs", None)
    monkeypatch.setattr("fmsel.experiments.loop.run.choose", None)
    assert finished(setup, folder.path, resume=True) == results


def test_warm_starts_begin_at_the_run_before(three: Loop, tmp_path: Path) -> None:
    """At a rate of almost 0, a run predicts what the run that it began with did."""
    still = replace(RECIPE, steps=1, eval_every=1, lr=1e-12, weight_decay=0.0, bn_momentum=1e-9)
    setup = make_setup("random", warm_start=True, config=still)
    folder = LoopFolder(tmp_path / "warm")
    finished(setup, folder.path)
    first, second = (folder.run(each) for each in setup.plan.track("random", 0))
    init = json.loads((second / "config.json").read_text())["init"]
    assert init["config_sha256"] == sha256_file(first / "config.json")
    before, after = (run_outputs(run, setup.data).probabilities for run in (first, second))
    np.testing.assert_allclose(after, before, atol=1e-5)
    _, cold, _ = three
    config = cold.run(Round("probcover", 0, 1)) / "config.json"
    assert json.loads(config.read_text())["init"] is None


def test_skipped_by_nobody_and_history_only_where_it_is_read(three: Loop, tmp_path: Path) -> None:
    setup, folder, _ = three
    assert not setup.keep_history
    assert len(folder.skipped(setup.plan.tracks[0])) == 0
    finished(make_setup("instability"), tmp_path / "loop")
    run = LoopFolder(tmp_path / "loop").run(Round("random", 0, 0))
    history = run_outputs(run, setup.data).history
    assert history is not None and history.shape == (2, len(setup.data))


def test_without_a_labelled_test_part_there_are_no_accuracies(tmp_path: Path) -> None:
    results = finished(make_setup("random", "random_stratified", test=None), tmp_path / "loop")
    assert not results.evaluated
    assert results.rows[0].tracks[0].accuracies == (None, None)
    assert not results.rows[0].against
    json.dumps(results.as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"budgets": (10, 10)}, BudgetError, "rise from round to round, .* got 10,10"),
        ({"budgets": (1, 10)}, BudgetError, "2 or more"),
        ({"budgets": (10, 2000)}, BudgetError, "up to 2000 labels, but digits has 1438 training"),
        ({"seeds": 0}, OptionError, "--seeds must be 1 or more, got 0"),
        ({"embedding": None}, OptionError, "probcover needs embeddings; .* --embeddings"),
        ({"start": parse_strategies(["margin"], ())[0]}, OptionError, "--start margin needs a"),
        (
            {"strategies": parse_strategies(["random", "random"], ())},
            OptionError,
            "--strategy random is given twice",
        ),
        ({"strategies": []}, OptionError, "nothing to compare"),
        (
            {"data": without_labels(load_dataset("digits"))},
            DataError,
            "1438 of the 1438 training images of digits have no label .* pass --labels FOLDER",
        ),
        (
            {
                "data": without_labels(load_dataset("digits")),
                "answers": Path("answers"),
                "strategies": parse_strategies(["random_stratified"], ()),
            },
            DataError,
            "random_stratified reads the labels of all images",
        ),
    ],
)
def test_what_cannot_be_begun_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_setup("probcover", **changes)


def test_one_class_says_so_and_writes_nothing(tmp_path: Path) -> None:
    data = load_dataset("digits")
    one = replace(data, labels=np.full(len(data), 3, dtype=np.int64))
    with pytest.raises(ArtefactError, match="all 10 labels of random, seed 0, round 0 are of one"):
        run_loop(make_setup("random", data=one), tmp_path / "loop")
    assert not any(tmp_path.iterdir())


def test_another_loop_in_the_folder_is_refused_by_what_differs(three: Loop, tmp_path: Path) -> None:
    setup, folder, _ = three
    names = ("margin", "probcover", "random_stratified")
    others: list[tuple[dict[str, Any], str]] = [
        ({"budgets": (10, 20, 30)}, "its budgets were 10, 20, 25, now they are 10, 20, 30; use"),
        ({"budgets": (10, 20)}, "its budgets were 10, 20, 25, now they are 10, 20"),
        ({"budgets": (5, 10, 20, 25)}, "now they are 5, 10, 20, 25"),
        ({"seeds": 1}, "its seeds were 0, 1, now they are 0"),
        ({"config": replace(RECIPE, lr=0.1)}, "its training fixmatch lr was 0.03, now it is 0.1"),
        ({"config": replace(RECIPE, steps=9)}, "its training fixmatch steps were 6, now they are"),
        ({"warm_start": True}, "its training warm start was False, now it is True"),
        ({"answers": Path("a")}, "its source of labels was dataset, now it is people"),
    ]
    before = (folder.path / "loop.json").read_bytes()
    for changes, message in others:
        other = make_setup(*names, **{"budgets": (10, 20, 25), "seeds": 2, **changes})
        with pytest.raises(ArtefactError, match=message):
            run_loop(other, folder.path)
    more = make_setup(*names, "random", budgets=(10, 20, 25), seeds=2)
    with pytest.raises(ArtefactError, match="its strategy random was not given, now it is given"):
        run_loop(more, folder.path)
    moved = replace(setup.data, source=replace(setup.data.source, data_root="/elsewhere"))
    same = make_setup(*names, budgets=(10, 20, 25), seeds=2, data=moved)
    assert not folder.extends(same.as_dict())
    assert (folder.path / "loop.json").read_bytes() == before
    (tmp_path / "photo.png").touch()
    with pytest.raises(OutputError, match="is not a loop's folder"):
        run_loop(setup, tmp_path)
    with pytest.raises(ArtefactError, match="there is no loop to resume"):
        run_loop(setup, tmp_path / "nothing", resume=True)


def test_more_budgets_and_seeds_end_as_if_they_had_been_there(three: Loop, tmp_path: Path) -> None:
    setup, whole, results = three
    names, out = ("margin", "probcover", "random_stratified"), tmp_path / "loop"
    short = finished(make_setup(*names, budgets=(10,)), out)
    assert short.budgets == (10,) and short.seeds == 1
    first = sha256_file(out / "tracks/random-seed0/round-0/run/summary.json")
    finished(make_setup(*names, budgets=(10, 20)), out, resume=True)
    assert finished(setup, out) == results
    assert sha256_file(out / "tracks/random-seed0/round-0/run/summary.json") == first
    assert (out / "loop.json").read_bytes() == (whole.path / "loop.json").read_bytes()
    for each in setup.plan.every:
        assert LoopFolder(out).split(each).indices == whole.split(each).indices


def test_more_than_the_smallest_class_has_is_refused_and_changes_nothing(three: Loop) -> None:
    _, folder, _ = three
    before = (folder.path / "loop.json").read_bytes()
    names = ("margin", "probcover", "random_stratified")
    with pytest.raises(BudgetError, match="round 3, 1436 labels in all: class '0' has 1"):
        run_loop(make_setup(*names, budgets=(10, 20, 25, 1436), seeds=2), folder.path)
    assert (folder.path / "loop.json").read_bytes() == before


def test_a_second_process_is_told_and_a_dead_one_holds_nothing(three: Loop, tmp_path: Path) -> None:
    setup, folder, results = three
    with (
        held_elsewhere(folder.path / "loop.lock"),
        pytest.raises(OutputError, match=r"another process is at work on the loop in .*loop; "),
    ):
        run_loop(setup, folder.path)
    assert finished(setup, folder.path) == results
    with LoopFolder(tmp_path / "new").locked():
        pass  # killed before anything was chosen
    LoopFolder(tmp_path / "new").check_new()


WORDS = [
    *("loop", "digits", "--strategy", "margin", "--strategy", "random", "--budgets", "10,20"),
    *("--seeds", "1", "--preset", "smoke", "--steps", "10", "--device", "cpu"),
    *("--precision", "fp32", "--warm-start"),
]
# One process imports torch, the others fork from it: quick, and as dead as any when killed.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        *("fmsel.cli.app", "fmsel.experiments.loop.run", "fmsel.report.loop"),
        *("sklearn.datasets", "torch._dynamo"),
    ]
)
# Runs the command, with a checkpoint after each step, and sends itself a signal when it touches a
# file of the loop for the n-th time: opens, renames or removes one.
COMMAND = """
import os, sys, torch
from fmsel.cli.app import main
from fmsel.fixmatch.run import loop

touched = 0
def hook(event, arguments):
    global touched
    if event in ("open", "os.rename", "os.remove", "os.mkdir") and "cut" in str(arguments[0]):
        touched += 1
        if touched == {touches}:
            os.kill(os.getpid(), {number})

os.chdir({home!r})
sys.stdout = sys.stderr = open("said.txt", "w")
torch.set_num_threads(1)
loop.CHECKPOINT_SECONDS = 0.0
sys.addaudithook(hook)
code = main({words!r})
sys.stderr.flush()
sys.exit(code)
"""


def run_until(number: signal.Signals, touches: int, home: Path) -> int | None:
    """The exit code of a process that gets signal `number` at that touch of a file."""
    words = [*WORDS, "--out", "cut"]
    code = COMMAND.format(number=int(number), touches=touches, home=str(home), words=words)
    process = PROCESSES.Process(target=exec, args=(code, {}))
    process.start()
    process.join(60)
    return process.exitcode


def test_killed_at_random_and_gone_on_with_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL wherever the files change, five times, then SIGUSR1 while training, then to the end.

    The same command goes on each time.
    """
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "--out", "whole"]) == 0
    moments = [random.randrange(1, limit) for limit in (10, 200, 200, 200, 200)]
    codes = [run_until(signal.SIGKILL, touches, tmp_path) for touches in moments]
    assert set(codes) <= {-signal.SIGKILL, 0} and codes[0] == -signal.SIGKILL, (moments, codes)
    if 0 not in codes and not Path("cut", "results.json").exists():
        code = run_until(signal.SIGUSR1, 30, tmp_path)
        assert code in (130, -signal.SIGUSR1, 0)
        if code == 130:
            assert "the loop is saved in cut with" in Path("said.txt").read_text()
    assert main([*WORDS, "--out", "cut", "--resume"]) == 0
    for name in ("results.json", "loop.csv", "loop.json"):
        assert Path("cut", name).read_bytes() == Path("whole", name).read_bytes(), moments
    splits = [path.relative_to("whole") for path in Path("whole").rglob("split.json")]
    assert len(splits) == 6  # of three rounds, and of their runs
    for path in splits:
        assert Split.load("cut" / path).indices == Split.load("whole" / path).indices


def test_a_signal_saves_and_names_the_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    from fmsel.fixmatch.run.session import Session

    advance = Session.advance

    def interrupted(session: Session) -> None:
        advance(session)
        if session.step == 4 and session.inputs.labels.shape[0] == 20:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Session, "advance", interrupted)
    assert main([*WORDS, "--out", "loop"]) == 130
    assert "stopped: the loop is saved in loop with 1 of 3 rounds finished" in (
        capsys.readouterr().err
    )
    monkeypatch.setattr(Session, "advance", advance)
    stage = LoopFolder(Path("loop")).stage
    assert stage(Round("random", 0, 0)) is Stage.DONE
    assert stage(Round("margin", 0, 1)) is Stage.TRAIN
    steps = []

    def noted(session: Session) -> None:
        steps.append(session.step)
        advance(session)

    monkeypatch.setattr(Session, "advance", noted)
    assert main([*WORDS, "--out", "loop"]) == 0
    assert steps[:6] == [4, 5, 6, 7, 8, 9] and len(steps) == 6 + 10
