"""`train`: from a split to a run folder."""

import time
import warnings
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
from fmsel.fixmatch.run.meters import collapsed
from fmsel.fixmatch.run.progress import LiveLine, live_line
from fmsel.fixmatch.run.session import Session
from fmsel.selection.split import Split
from fmsel.training.engine.device import (
    Execution,
    Precision,
    configure_backends,
    device_name,
    resolve_device,
    resolve_execution,
    resolve_precision,
)
from fmsel.training.engine.signals import StopFlag, stop_flag

# The device is looked at, for the live line and for bad losses, after so many seconds or steps.
LOOK_EVERY = 0.5
LOOK_STEPS = 100
CHECKPOINT_SECONDS = 60.0  # the most that a killed run loses, on top of one evaluation


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
    execution: str = "auto",
    deterministic: bool = False,
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
        execution: "auto", "eager", "graph" or "compile"; see `resolve_execution`.
        deterministic: on a GPU too, the same bits however often the run was stopped; slower.
        resume: go on with the run in `out`.
        force: replace the run in `out`.
        progress: show the live line on stderr.
    Returns:
        What summary.json holds: accuracy (the median of the last EMA evaluations), accuracy_of
        (their number), final_ema_accuracy, steps, seconds, it_per_s, completed.
    Raises:
        ArtefactError, DataError, DeviceError, OptionError, OutputError: unusable input.
        FmselError: the loss became nan or infinite.
        Interrupted: Ctrl-C, SIGTERM or SIGUSR1; the state was saved.
    """
    with stop_flag() as stop:
        folder = RunFolder(out)
        if not resume:
            folder.check_new(force)
        target = resolve_device(device)
        chosen_precision = resolve_precision(precision, target)
        chosen_execution = resolve_execution(execution, target)
        configure_backends(target, deterministic)
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
            execution=chosen_execution,
            deterministic=deterministic,
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
            execution=chosen_execution,
        )
        if not resume:
            folder.begin(description, split)
        else:
            if saved := folder.restore(target):
                session.restore(*saved)
            folder.go_on(split, session.rows)
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
    execution: Execution,
    deterministic: bool,
) -> dict[str, Any]:
    """What config.json holds: enough to run it again, and to refuse resuming it differently."""
    return {
        "mode": "supervised" if supervised_only else "fixmatch",
        "seed": seed,
        "preset": preset_name(config, data.images.shape[1]),
        "fixmatch": config.as_dict(),
        "dataset": {
            **data.describe(),
            "class_names": list(data.class_names),
            "image_side": data.images.shape[1],
        },
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
        "execution": execution,
        "deterministic": deterministic,
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
    looked_at = saved_at = time.perf_counter()
    looked_step = session.step
    while True:
        if session.evaluation_due and session.evaluate(lambda: stop.requested):
            _save(session, folder)
            saved_at = time.perf_counter()
            _warn_of_collapse(session)
        if stop:
            _save(session, folder)
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
        if now - looked_at >= LOOK_EVERY or session.step - looked_step >= LOOK_STEPS:
            rate = (session.step - looked_step) / (now - looked_at)
            looked_at, looked_step = now, session.step
            _look(session, line, rate)
        if now - saved_at >= CHECKPOINT_SECONDS:
            _save(session, folder)
            saved_at = time.perf_counter()


def _look(session: Session, line: LiveLine, rate: float) -> None:
    session.check_finite()
    ema = session.rows[-1]["ema_accuracy"] if session.rows else None
    line.update(session.step, rate, session.meters.read(session.supervised).mask_rate, ema)


def _save(session: Session, folder: RunFolder) -> None:
    session.check_finite()
    folder.save(*session.save(), session.rows)


def _warn_of_collapse(session: Session) -> None:
    """Once a run: at the first evaluation after which `collapsed` holds."""
    count = session.inputs.n_classes
    *earlier, now = [
        collapsed(row["mask_rate"], row["largest_class_share"], count) for row in session.rows
    ]
    if now and not any(earlier):
        row = session.rows[-1]
        warnings.warn(
            f"at step {row['step']:,} one of {count} classes has {row['largest_class_share']:.0%} "
            f"of the pseudo-labels, and {row['mask_rate']:.0%} of the images have one; the "
            "training may have collapsed, so look at the accuracy, or try a smaller --lr or "
            "another --rule",
            stacklevel=2,
        )
