"""`Job` and `Options`: what is to be trained, and what its config.json says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmsel.artefacts import versions
from fmsel.datasets import ImageDataset
from fmsel.errors import OptionError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.presets import preset_name
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.history import KEPT
from fmsel.fixmatch.run.start import load_start
from fmsel.selection.split import Split
from fmsel.training.engine.device import (
    device_name,
    resolve_device,
    resolve_execution,
    resolve_precision,
)
from fmsel.training.engine.distributed import process_count


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to be trained.

    Attributes:
        split: which images have labels.
        out: the run folder.
        seed: the training seed, 0 or more.
        name: how comparisons call the split; its strategy by default.
        resume: go on with the run in `out`.
        init_from: the folder of a run whose averaged weights this one starts from; optimiser,
            schedule and step begin anew. None = a fresh initialisation.
    """

    split: Split
    out: Path
    seed: int
    name: str | None = None
    resume: bool = False
    init_from: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How runs are made, beside their recipe.

    Attributes:
        supervised_only: the same labelled batches and steps, without the unlabelled images.
        device: "auto", "cpu", "cuda", …
        precision: "auto", "fp32" or "bf16".
        execution: "auto", "eager", "graph", "compile" or "fused"; see `resolve_execution`.
        deterministic: on a GPU too, the same bits however often a run was stopped; slower.
        force: replace a run that is there.
        tensorboard: write the metrics as TensorBoard events too.
        keep_history: at every evaluation the averaged network also predicts every training image;
            the last `history.KEPT` rows are kept in the checkpoint.
        progress: show the live lines on stderr.
    """

    supervised_only: bool = False
    device: str = "auto"
    precision: str = "auto"
    execution: str = "auto"
    deterministic: bool = False
    force: bool = False
    tensorboard: bool = False
    keep_history: bool = False
    progress: bool = True


def describe(
    job: Job,
    data: ImageDataset,
    test: ImageDataset | None,
    config: FixMatchConfig,
    options: Options,
) -> dict[str, Any]:
    """What config.json holds: enough to run it again, and to refuse resuming it differently.

    Raises:
        ArtefactError: as `load_start`, of `job.init_from`.
        OptionError: a run that is to start from itself.
    """
    device, split, processes = resolve_device(options.device), job.split, process_count()
    execution = resolve_execution(options.execution, device)
    return {
        "mode": "supervised" if options.supervised_only else "fixmatch",
        "seed": job.seed,
        "preset": preset_name(config, data.images.shape[1]),
        "fixmatch": config.as_dict(),
        "dataset": {
            **data.describe(),
            "class_names": list(data.class_names),
            "image_side": data.images.shape[1],
        },
        "test": _fingerprint(test) if test else None,
        "split": {
            "name": job.name or split.strategy,
            "sha256": split.sha256,
            "strategy": split.strategy,
            "parameters": dict(split.parameters),
            "seed": split.seed,
            "label_use": split.label_use,
            "labels": len(split),
        },
        "init": None if job.init_from is None else _origin(job, job.init_from, data, config),
        "history": KEPT if options.keep_history else None,
        "device": device_name(device),
        "precision": resolve_precision(options.precision, device),
        "execution": "eager" if processes > 1 else execution,  # as `train_jobs` has it
        "processes": processes,
        "deterministic": options.deterministic,
        "versions": versions("torch", "torchvision"),
    }


def _origin(job: Job, run: Path, data: ImageDataset, config: FixMatchConfig) -> dict[str, Any]:
    if run.resolve() == job.out.resolve():
        raise OptionError(f"{run} cannot start from itself; name another run, or another --out")
    if job.resume and (known := RunFolder(job.out).started_from()):
        return {**known, "run": run.resolve().name}
    return dict(load_start(run, data, config).record)


def _fingerprint(test: ImageDataset) -> dict[str, Any]:
    """By what runs that were measured on other images or labels are told apart."""
    return {
        "n": len(test),
        "images_sha256": test.images_sha256,
        "labels_sha256": test.labels_sha256,
    }
