"""The run folder: training, resuming, stopping, and what is refused."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fmsel.artefacts import versions
from fmsel.datasets import ImageDataset, Source, WeakAugment, load_dataset
from fmsel.errors import ArtefactError, DataError, FmselError, Interrupted
from fmsel.experiments.replicates import plan_replicates
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.presets import SMOKE
from fmsel.fixmatch.run import RunRecord, reported_accuracy, train
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.inputs import prepare_inputs
from fmsel.fixmatch.run.job import Job, Options, describe
from fmsel.fixmatch.run.progress import LiveLine
from fmsel.fixmatch.run.session import Session
from fmsel.selection.split import Split

TINY = FixMatchConfig(
    arch="small-conv-4",
    steps=12,
    batch=4,
    mu=2,
    threshold=0.3,
    ema_ramp=True,
    bn_momentum=0.1,
    eval_every=4,
)
FP32: dict[str, Any] = {"seed": 3, "device": "cpu", "precision": "fp32", "progress": False}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only lose by threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def part_of(part: str, count: int, labelled: bool = True) -> ImageDataset:
    """Three classes of noisy images that differ in brightness."""
    rng = np.random.default_rng([count, part == "test"])
    labels = np.arange(count) % 3
    noise = rng.normal(0, 30, (count, 8, 8, 3))
    images = (40 + 80 * labels[:, None, None, None] + noise).clip(0, 255).astype(np.uint8)
    return ImageDataset(
        name="made",
        source=Source(dataset="made"),
        part="train" if part == "train" else "test",
        images=images,
        labels=labels if labelled else np.full(count, -1),
        ids=np.arange(count).astype(str),
        class_names=("a", "b", "c"),
        weak=WeakAugment(flip=True, shift=1),
    )


def split_of(data: ImageDataset, indices: list[int], **changes: Any) -> Split:
    values: dict[str, Any] = {
        "dataset": data.name,
        "source": data.source.as_dict(),
        "n": len(data),
        "images_sha256": data.images_sha256,
        "labels_sha256": data.labels_sha256,
        "strategy": "imported",
        "parameters": {},
        "seed": 0,
        "indices": indices,
        "label_use": "none",
        "class_counts": {},
    }
    return Split(**{**values, **changes})


DATA, TEST = part_of("train", 60), part_of("test", 30)
SPLIT = split_of(DATA, list(range(6)))


def rows_of(out: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what depends on the clock."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    clocks = ("seconds", "it_per_s", "images_per_s")
    return [{k: v for k, v in row.items() if k not in clocks} for row in rows]


def checkpoint_of(out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors, state) of the newest checkpoint."""
    saved = RunFolder(out).restore(torch.device("cpu"))
    assert saved is not None
    return saved


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send this process a SIGTERM during step number `steps`."""
    advance = Session.advance

    def advance_and_signal(self: Session) -> None:
        advance(self)
        if self.step == steps:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Session, "advance", advance_and_signal)


def assert_equal_state(first: Any, second: Any) -> None:
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal_state(first[key], second[key])
    elif isinstance(first, list):
        for a, b in zip(first, second, strict=True):
            assert_equal_state(a, b)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


@pytest.mark.parametrize("supervised", [False, True])
@pytest.mark.parametrize("stop_at", [1, 4, 7])
def test_stopped_and_resumed_run_equals_an_uninterrupted_one(
    stop_at: int, supervised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**FP32, "supervised_only": supervised}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = train(SPLIT, DATA, TEST, TINY, whole, **options)
    with monkeypatch.context() as patch:
        stop_after(stop_at, patch)
        with pytest.raises(Interrupted, match=f"saved at step {stop_at} of 12 .* --resume"):
            train(SPLIT, DATA, TEST, TINY, cut, **options)
    assert not (cut / "summary.json").exists()
    summary = train(SPLIT, DATA, TEST, TINY, cut, **options, resume=True)
    assert summary["accuracy"] == expected["accuracy"]
    assert rows_of(cut) == rows_of(whole)
    assert [row["step"] for row in rows_of(cut)] == [4, 8, 12]
    first, second = (checkpoint_of(out)[0] for out in (whole, cut))
    assert_equal_state(first, second)


def test_a_signal_while_steps_are_compiled_saves_a_run_that_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.compile works at the first call, for up to a minute; this stand-in is interrupted."""
    compiled: list[nn.Module] = []

    def compile_at_the_first_call(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        def forward(images: torch.Tensor) -> torch.Tensor:
            if not compiled:
                os.kill(os.getpid(), signal.SIGTERM)
                compiled.append(model)
            logits: torch.Tensor = model(images)
            return logits

        return forward

    monkeypatch.setattr(torch, "compile", compile_at_the_first_call)
    options = {**FP32, "execution": "compile"}
    with pytest.raises(Interrupted, match="saved at step 1 of 12"):
        train(SPLIT, DATA, TEST, TINY, tmp_path / "cut", **options)
    train(SPLIT, DATA, TEST, TINY, tmp_path / "cut", **options, resume=True)
    train(SPLIT, DATA, TEST, TINY, tmp_path / "whole", **options)
    assert_equal_state(checkpoint_of(tmp_path / "cut")[0], checkpoint_of(tmp_path / "whole")[0])


def test_seeds_give_different_runs_and_equal_seeds_equal_ones(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(SPLIT, DATA, TEST, TINY, tmp_path / name, **{**FP32, "seed": seed})
    a, b, c = (rows_of(tmp_path / name) for name in "abc")
    assert a == b
    assert a != c


def test_supervised_baseline_has_the_same_start_and_labelled_batches() -> None:
    inputs = prepare_inputs(SPLIT, DATA, TEST, torch.device("cpu"))
    both = [
        Session(inputs, DATA.weak, TINY, seed=0, supervised_only=alone, precision="fp32")
        for alone in (False, True)
    ]
    assert both[1].unlabelled is None
    for step in range(3):
        first, second = (each.labelled.make(each.labelled.draw(step)) for each in both)
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)
    weights = [session.learner.model.state_dict() for session in both]
    assert_equal_state(weights[0], weights[1])


def test_run_folder_says_what_it_is(tmp_path: Path) -> None:
    out = tmp_path / "run"
    summary = train(SPLIT, DATA, TEST, TINY, out, **FP32, name="mine")
    record = RunRecord.load(out)
    assert (record.mode, record.seed, record.config) == ("fixmatch", 3, TINY)
    assert record.split["name"] == "mine"
    assert record.split["sha256"] == Split.load(out / "split.json").sha256 == SPLIT.sha256
    assert record.dataset["images_sha256"] == DATA.images_sha256
    assert json.loads((out / "config.json").read_text())["test"] == {
        "n": 30,
        "images_sha256": TEST.images_sha256,
        "labels_sha256": TEST.labels_sha256,
    }
    assert record.steps.tolist() == [4, 8, 12]
    assert record.accuracy == record.ema_accuracy[-1] == summary["final_ema_accuracy"]
    assert summary["steps"] == 12 and summary["completed"] is True
    row = rows_of(out)[0]
    assert 0 < row["mask_rate"] <= 1 and 0 <= row["pseudo_label_accuracy"] <= 1
    assert row["loss"] == pytest.approx(row["loss_labelled"] + row["loss_unlabelled"])


def test_without_labels_in_the_test_part_there_is_no_accuracy(tmp_path: Path) -> None:
    unlabelled = part_of("train", 60, labelled=False)
    split = split_of(unlabelled, [0, 1, 2], labels=[0, 1, 2])
    for name, test in (("none", None), ("unlabelled", part_of("test", 9, labelled=False))):
        summary = train(split, unlabelled, test, TINY, tmp_path / name, **FP32)
        assert summary["accuracy"] is None
        assert RunRecord.load(tmp_path / name).accuracy is None
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert (config["test"] is None) == (test is None)
        assert rows_of(tmp_path / name)[-1]["ema_accuracy"] is None
        assert rows_of(tmp_path / name)[-1]["pseudo_label_accuracy"] is None


def test_smoke_preset_learns_the_digits(tmp_path: Path) -> None:
    data, test = load_dataset("digits"), load_dataset("digits", "test")
    indices = np.concatenate([np.flatnonzero(data.labels == c)[:4] for c in range(10)]).tolist()
    config = dataclasses.replace(SMOKE, steps=100, eval_every=25)
    summary = train(split_of(data, indices), data, test, config, tmp_path / "run", **FP32)
    assert summary["accuracy"] > 0.5  # chance is 0.1


@pytest.mark.parametrize(
    ("count", "used"), [(1, 1), (3, 1), (8, 2), (19, 4), (20, 5), (79, 19), (80, 20), (90, 20)]
)
def test_reported_accuracy_is_the_median_of_the_last(count: int, used: int) -> None:
    curve = [(7 * k % 11) / 11 for k in range(count)]
    last = sorted(curve[count - used :])
    middle = (last[(used - 1) // 2] + last[used // 2]) / 2
    accuracy, of = reported_accuracy(curve)
    assert (accuracy, of) == pytest.approx((middle, used))


def test_nan_loss_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Session.advance

    def spoil(self: Session) -> None:
        if self.step == 6:
            next(self.learner.model.parameters()).data.fill_(float("nan"))
        advance(self)

    monkeypatch.setattr(Session, "advance", spoil)
    with pytest.raises(FmselError, match=r"the loss, .* became nan .* smaller --lr than 0.03"):
        train(SPLIT, DATA, TEST, TINY, tmp_path / "run", **FP32)
    assert checkpoint_of(tmp_path / "run")[1]["step"] == 4


def test_resume_refuses_what_differs(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ArtefactError, match="there is no run to resume in"):
        train(SPLIT, DATA, TEST, TINY, out, **FP32, resume=True)
    train(SPLIT, DATA, TEST, TINY, out, **FP32)
    longer = dataclasses.replace(TINY, steps=20)
    other = split_of(DATA, list(range(9)))
    cases: list[tuple[Split, FixMatchConfig, dict[str, Any], str]] = [
        (SPLIT, longer, {}, "setting steps was 12, now it is 20"),
        (other, TINY, {}, rf"split \(sha256\) was {SPLIT.sha256}, now it is {other.sha256}"),
        (SPLIT, TINY, {"seed": 4}, "seed was 3, now it is 4"),
        (SPLIT, TINY, {"precision": "bf16"}, "precision was fp32, now it is bf16"),
        (SPLIT, TINY, {"supervised_only": True}, "mode was fixmatch, now it is supervised"),
    ]
    for split, config, changes, sentence in cases:
        with pytest.raises(ArtefactError, match=sentence):
            train(split, DATA, TEST, config, out, **{**FP32, **changes}, resume=True)


@pytest.mark.parametrize("deterministic", [False, True])
def test_only_a_deterministic_run_must_go_on_with_its_torch(
    deterministic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, options = tmp_path / "run", Options(device="cpu", deterministic=deterministic)
    train(SPLIT, DATA, TEST, TINY, out, **FP32, deterministic=deterministic)
    other = {**versions("torch"), "torch": "1.0"}
    monkeypatch.setattr("fmsel.fixmatch.run.job.versions", lambda *names: other)
    if deterministic:
        sentence = f"its torch was {versions('torch')['torch']}, now it is 1.0; use what it was"
        with pytest.raises(ArtefactError, match=re.escape(sentence)):
            train(SPLIT, DATA, TEST, TINY, out, **FP32, deterministic=True, resume=True)
    else:
        train(SPLIT, DATA, TEST, TINY, out, **FP32, resume=True)
    now = describe(Job(split=SPLIT, out=out, seed=3), DATA, TEST, TINY, options)
    now["precision"] = "fp32"
    assert RunFolder(out).finished_as(now)  # what is finished is not gone on with


@pytest.mark.parametrize("deterministic", [False, True])
def test_only_a_deterministic_run_must_go_on_with_its_number_of_processes(
    deterministic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, folder = Job(split=SPLIT, out=tmp_path / "run", seed=3), RunFolder(tmp_path / "run")
    options = Options(
        device="cpu", precision="fp32", execution="compile", deterministic=deterministic
    )
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    both = describe(job, DATA, TEST, TINY, options)
    assert (both["execution"], both["processes"]) == ("eager", 2)  # what they really do
    folder.begin(both, SPLIT)
    folder.finish({})
    assert folder.finished_as(both)
    monkeypatch.setenv("WORLD_SIZE", "1")
    alone = describe(job, DATA, TEST, TINY, dataclasses.replace(options, execution="eager"))
    assert folder.finished_as(alone) == (not deterministic)
    if deterministic:
        with pytest.raises(ArtefactError, match="its number of processes was 2, now it is 1"):
            folder.check_same(alone)
    else:
        folder.check_same(alone)


def test_resume_refuses_another_test_part(tmp_path: Path) -> None:
    out, fewer = tmp_path / "run", part_of("test", 27)
    relabelled = dataclasses.replace(TEST, labels=TEST.labels[::-1].copy())
    train(SPLIT, DATA, TEST, TINY, out, **FP32)
    cases: list[tuple[ImageDataset | None, str]] = [
        (None, f"test images (sha256) was {TEST.images_sha256}, now it is None"),
        (fewer, f"test images (sha256) was {TEST.images_sha256}, now it is {fewer.images_sha256}"),
        (
            relabelled,
            f"test labels (sha256) was {TEST.labels_sha256}, now it is {relabelled.labels_sha256}",
        ),
    ]
    for test, sentence in cases:
        with pytest.raises(ArtefactError, match=re.escape(sentence)):
            train(SPLIT, DATA, test, TINY, out, **FP32, resume=True)


@pytest.mark.parametrize("supervised", [False, True])
def test_the_last_live_line_agrees_with_the_summary(
    supervised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[int, float, float | None, float | None]] = []
    monkeypatch.setattr(LiveLine, "update", lambda self, *values: shown.append(values))
    options = {**FP32, "supervised_only": supervised}
    summary = train(SPLIT, DATA, TEST, TINY, tmp_path / "run", **options)
    step, _, mask_rate, ema = shown[-1]
    assert (step, ema) == (12, summary["final_ema_accuracy"])
    assert mask_rate == rows_of(tmp_path / "run")[-1]["mask_rate"]


def test_unusable_inputs_are_refused(tmp_path: Path) -> None:
    unlabelled = part_of("train", 60, labelled=False)
    with pytest.raises(ArtefactError, match=r"2 of the split's 2 images have no label .* image 4"):
        train(split_of(unlabelled, [4, 5]), unlabelled, None, TINY, tmp_path / "a", **FP32)
    with pytest.raises(ArtefactError, match="not these 30 images of made"):
        train(SPLIT, TEST, None, TINY, tmp_path / "a", **FP32)
    values = {field.name: getattr(DATA, field.name) for field in dataclasses.fields(DATA)}
    wide = ImageDataset(**{**values, "images": np.zeros((60, 8, 9, 3), dtype=np.uint8)})
    with pytest.raises(
        DataError, match="images of 8 x 9 pixels; training needs square ones, so crop"
    ):
        train(split_of(wide, [0, 1]), wide, None, TINY, tmp_path / "a", **FP32)
    assert not (tmp_path / "a").exists()


def test_unfinished_and_broken_runs_are_not_read(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ArtefactError, match=r"is not a run folder: it holds no config\.json"):
        RunRecord.load(out)
    train(SPLIT, DATA, TEST, TINY, out, **FP32)
    summary = (out / "summary.json").read_text()
    (out / "summary.json").unlink()
    with pytest.raises(ArtefactError, match="is not finished; go on with `fmsel train --resume`"):
        RunRecord.load(out)
    (out / "summary.json").write_text('{"accuracy": "x"}')
    with pytest.raises(ArtefactError, match=r"summary.json is broken: its accuracy is 'x'"):
        RunRecord.load(out)
    (out / "summary.json").write_text("{}")
    with pytest.raises(ArtefactError, match="lacks the field 'accuracy'"):
        RunRecord.load(out)
    (out / "summary.json").write_text(summary)
    (out / "metrics.jsonl").write_text('{"step": 4')
    with pytest.raises(ArtefactError, match=r"metrics\.jsonl cannot be read as run metrics"):
        RunRecord.load(out)


def test_replicates_redraw_random_splits_only(tmp_path: Path) -> None:
    data = load_dataset("digits")
    plan = plan_replicates(SPLIT, DATA, name="x", seed=5, count=3, root=tmp_path)
    assert [each.seed for each in plan] == [5, 6, 7]
    assert all(each.split is SPLIT for each in plan)
    assert [each.out.name for each in plan] == ["x-seed5", "x-seed6", "x-seed7"]
    random = split_of(data, [1, 2], strategy="random")
    drawn = plan_replicates(random, data, name="x", seed=5, count=2, root=tmp_path)
    assert drawn[0].split is random
    assert drawn[1].split.seed == random.seed + 1
    assert drawn[1].split.indices != random.indices
    [single] = plan_replicates(random, data, name="x", seed=5, count=1)
    assert single.out == Path("runs/x-seed5")


@pytest.mark.gpu
def test_gpu_steps_agree_with_the_cpu(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, steps=3, eval_every=1)
    for device in ("cpu", "cuda"):
        train(SPLIT, DATA, TEST, config, tmp_path / device, **{**FP32, "device": device})
    states = [checkpoint_of(tmp_path / device)[0] for device in ("cpu", "cuda")]
    first, second = (state["learner"]["model"] for state in states)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_gpu_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**FP32, "device": "cuda", "precision": "bf16"}
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        with pytest.raises(Interrupted, match="saved at step 5 of 12"):
            train(SPLIT, DATA, TEST, TINY, tmp_path / "run", **options)
    assert train(SPLIT, DATA, TEST, TINY, tmp_path / "run", **options, resume=True)["steps"] == 12


def test_sigterm_in_a_process_saves_and_exits_130(tmp_path: Path) -> None:
    data = load_dataset("digits")
    indices = np.concatenate([np.flatnonzero(data.labels == c)[:2] for c in range(10)]).tolist()
    split_of(data, indices).save(tmp_path / "tiny.json")
    words = ["train", "--split", "tiny.json", "--preset", "smoke", "--steps", "1000000"]
    code = f"import sys; from fmsel.cli.app import main; sys.exit(main({words!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    out = tmp_path / "runs" / "tiny-seed0"
    deadline = time.monotonic() + 60
    while not (out / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "--resume to go on" in errors
    assert checkpoint_of(out)[1]["step"] > 0
