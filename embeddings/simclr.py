"""`simclr`: features of a network trained on these images, without labels.

Chen, Kornblith, Norouzi and Hinton, "A simple framework for contrastive learning of visual
representations" (ICML 2020, arXiv 2002.05709): two random views of an image are to be recognised
among the views of all other images of a batch. What the last layer before the projection head says
is kept. Training stopped by a signal goes on with the same command.
"""

import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fmsel.artefacts import cache_dir, sha256_json, versions
from fmsel.datasets import ImageDataset
from fmsel.embeddings.contrastive.config import SimclrConfig, config_for
from fmsel.embeddings.contrastive.train import Simclr, features_of, new_network
from fmsel.embeddings.vectors.plan import Advance, Plan, Request
from fmsel.errors import ArtefactError, Interrupted, OutputError
from fmsel.training.engine.checkpoint import load_checkpoint, save_checkpoint
from fmsel.training.engine.device import Precision, configure_backends, resolve_precision
from fmsel.training.engine.signals import StopFlag, stop_flag

SAVE_EVERY = 120  # seconds


def plan(data: ImageDataset, request: Request) -> Plan:
    """Say what will be trained.

    Raises:
        OptionError, DataError: as `config_for`, or the images are too small for the network.
    """
    config = config_for(data, request.device, request.epochs)
    precision = resolve_precision("auto", request.device)
    width = new_network(config.arch, data.images.shape[1], request.seed).head.in_features
    return Plan(
        width=width,
        run=partial(_run, data, config, request, precision),
        total=len(data) // config.batch * config.batch * config.epochs + len(data),
        note=f"; trains {config.arch} for {config.epochs} epochs",
        parameters={**config.as_dict(), "precision": precision, "device": request.device.type},
    )


def _run(
    data: ImageDataset,
    config: SimclrConfig,
    request: Request,
    precision: Precision,
    advance: Advance,
) -> npt.NDArray[np.float32]:
    """Train, or go on training; then encode all images and forget the checkpoint.

    Raises:
        Interrupted: a signal came; the state was saved.
        FmselError: the loss was not finite.
    """
    configure_backends(request.device, deterministic=False)
    images = torch.tensor(data.images, device=request.device).permute(0, 3, 1, 2).contiguous()
    learner = Simclr(images, config, seed=request.seed, precision=precision)
    path = checkpoint_path(data, config, request, precision)
    _go_on(learner, path)
    advance(learner.step * config.batch)
    with stop_flag() as stop:
        _train(learner, path, stop, advance)
    features = features_of(learner.network, images, precision, advance)
    path.unlink(missing_ok=True)
    return features


def checkpoint_path(
    data: ImageDataset, config: SimclrConfig, request: Request, precision: Precision
) -> Path:
    """Where training that equals this one to the last bit is saved."""
    key = {
        "images": data.images_sha256,
        "config": config.as_dict(),
        "seed": request.seed,
        "device": request.device.type,
        "precision": precision,
        "versions": versions("torch"),
    }
    return cache_dir() / "embeddings" / f"simclr-{sha256_json(key)[:16]}.safetensors"


def _go_on(learner: Simclr, path: Path) -> None:
    with suppress(ArtefactError):  # none there, or a broken one: from the start
        tensors, state = load_checkpoint(path, learner.device)
        learner.load(tensors, state["step"])


def _train(learner: Simclr, path: Path, stop: StopFlag, advance: Advance) -> None:
    saved_at = time.perf_counter()
    while learner.step < learner.steps:
        learner.advance()
        advance(learner.config.batch)
        if learner.step % learner.per_epoch == 0:
            learner.check_finite()
        if stop:
            where = f"at step {learner.step:,} of {learner.steps:,}"
            _save(learner, path)
            raise Interrupted(f"simclr is saved {where} in {path}; give the same command to go on")
        if time.perf_counter() - saved_at >= SAVE_EVERY:
            with suppress(OutputError):  # only costs time after an interruption
                _save(learner, path)
            saved_at = time.perf_counter()
    with suppress(OutputError):
        _save(learner, path)


def _save(learner: Simclr, path: Path) -> None:
    learner.check_finite()
    save_checkpoint(path, learner.state(), {"step": learner.step})
