"""`train`: from a split to a run folder."""

import time
from pathlib import Path
from typing import Any

import torch

from fmsel.artefacts import versions
from fmsel.datasets import ImageDataset
from fmsel.errors import Interrupted
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.presets import preset_name
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.inputs import prepare_inputs
from fmsel.fixmatch.run.progress import LiveLine, live_line
from fmsel.fixmatch.run.session import Session
from fmsel.selection.split import Split
from fmsel.training.engine.device import (
    Precision,
    device_name,
    resolve_device,
    resolve_precision,
)
from fmsel.training.engine.signals import StopFlag, stop_flag

LOOK_EVERY = 0.5  # seconds between looks at the device for the live line


def train(
    split: Split,
    data: ImageDataset,
    test: ImageDataset | None,
    config: FixMatchConfig,
    out: Path,
    *,
    seed: int,
    split_name: str | None = None,
    supervised_only: bool = False,
    device: str = "auto",
    precision: str = "auto",
    resume: bool = False,
    force: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Train on a split's labels and all images of `data`; write the run folder `out`.

    The unlabelled set is the whole train part, labelled images included (reference code). On the
    CPU equal arguments give equal weights, however often the run was stopped and resumed.

    Args:
        split: which images have labels.
        data: the train part it belongs to; square images.
        test: the test part; without it, or without labels in it, no accuracy is measured.
        config: the recipe.
        out: the run folder.
        seed: the training seed, 0 or more.
        split_name: how comparisons call the split; its strategy by default.
        supervised_only: the same labelled batches and steps, without the unlabelled images.
        device: "auto", "cpu", "cuda", …
        precision: "auto", "fp32" or "bf16".
        resume: go on with the run in `out`.
        force: replace the run in `out`.
        progress: show the live line on stderr.
    Returns:
        What summary.json holds: accuracy (the median of the last EMA evaluations), accuracy_of
        (their number), final_ema_accuracy, steps, seconds, it_per_s, completed.
    Raises:
        ArtefactError, DataError, DeviceError, OptionError, OutputError: unusable input.
        FmselError: the loss became nan or infinite.
        Interrupted: Ctrl-C or SIGTERM; the state was saved.
    """
    with stop_flag() as stop:
        folder = RunFolder(out)
        if not resume:
            folder.check_new(force)
        target = resolve_device(device)
        chosen_precision = resolve_precision(precision, target)
        inputs = prepare_inputs(split, data, test, target)
        description = describe(
            split,
            data,
            test,
            config,
            seed=seed,
            split_name=split_name or split.strategy,
            supervised_only=supervised_only,
            device=target,
            precision=chosen_precision,
        )
        if resume:
            folder.check_same(description)
        session = Session(
            inputs,
            data.weak,
            config,
            seed=seed,
            supervised_only=supervised_only,
            precision=chosen_precision,
        )
        if not resume:
            folder.begin(description, split)
        elif saved := folder.restore(target):
            session.restore(*saved)
        with live_line(config.steps, session.step, progress) as line:
            run(session, folder, stop, line)
    summary = session.summary()
    folder.finish(summary)
    return summary


def describe(
    split: Split,
    data: ImageDataset,
    test: ImageDataset | None,
    config: FixMatchConfig,
    *,
    seed: int,
    split_name: str,
    supervised_only: bool,
    device: torch.device,
    precision: Precision,
) -> dict[str, Any]:
    """What config.json holds: enough to run it again, and to refuse resuming it differently."""
    return {
        "mode": "supervised" if supervised_only else "fixmatch",
        "seed": seed,
        "preset": preset_name(config, data.images.shape[1]),
        "fixmatch": config.as_dict(),
        "dataset": data.describe(),
        "test": _fingerprint(test) if test else None,
        "split": {
            "name": split_name,
            "sha256": split.sha256,
            "strategy": split.strategy,
            "parameters": dict(split.parameters),
            "seed": split.seed,
            "label_use": split.label_use,
            "labels": len(split),
        },
        "device": device_name(device),
        "precision": precision,
        "versions": versions("torch", "torchvision"),
    }


def _fingerprint(test: ImageDataset) -> dict[str, Any]:
    """By what runs that were measured on other images or labels are told apart."""
    return {
        "n": len(test),
        "images_sha256": test.images_sha256,
        "labels_sha256": test.labels_sha256,
    }


def run(session: Session, folder: RunFolder, stop: StopFlag, line: LiveLine) -> None:
    """Step, evaluate and save until the run is done.

    Raises:
        FmselError: the loss became nan or infinite; the last good checkpoint stays.
        Interrupted: `stop` was set; the state was saved.
    """
    looked_at, looked_step = time.perf_counter(), session.step
    while True:
        if session.evaluation_due and session.evaluate(lambda: stop.requested):
            folder.save(*session.save(), session.rows)
        if stop:
            session.check_finite()
            folder.save(*session.save(), session.rows)
            raise Interrupted(
                f"the run is saved at step {session.step:,} of {session.config.steps:,} in "
                f"{folder.path}; give the same command with --resume to go on"
            )
        if session.done:
            last = session.rows[-1]
            line.update(session.step, last["it_per_s"], last["mask_rate"], last["ema_accuracy"])
            return
        session.advance()
        now = time.perf_counter()
        if now - looked_at >= LOOK_EVERY:
            rate = (session.step - looked_step) / (now - looked_at)
            looked_at, looked_step = now, session.step
            session.check_finite()
            ema = session.rows[-1]["ema_accuracy"] if session.rows else None
            means = session.meters.read(session.supervised)
            line.update(session.step, rate, means.mask_rate, ema)
