"""`load_start`: the averaged weights of another run, for a run to start from."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fmsel.artefacts import sha256_file
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run.averaged import averaged_network, last_checkpoint, read_recipe
from fmsel.fixmatch.run.record import CONFIG, read_run_config
from fmsel.selection.split.known import first_use


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """What a run starts from in place of a fresh initialisation.

    Attributes:
        weights: a network's state dict on the CPU.
        record: run (its name), step (of its checkpoint), config_sha256, and label_use: how far
            the choice of all labels that it learned from, its own start's too, read others.
    """

    weights: Mapping[str, Tensor]
    record: Mapping[str, Any]


def learned_label_use(config: Mapping[str, Any]) -> str:
    """The first oracle's use of labels among a run's split and the runs it started from.

    Args:
        config: what config.json holds.
    """
    init, split = config.get("init") or {}, config.get("split") or {}
    return str(first_use(split.get("label_use", "none"), init.get("label_use", "none")))


def load_start(run: Path, data: ImageDataset, config: FixMatchConfig) -> Start:
    """The averaged weights of a run's last checkpoint, with the live batch norm statistics.

    Args:
        run: a run folder; the run need not be finished.
        data: the train part of the run that is to start.
        config: its recipe.
    Raises:
        ArtefactError: no run folder, no good checkpoint, or a network of another architecture,
            for other classes or for images of another size.
    """
    recipe, dataset = read_recipe(run)
    names, side = data.class_names, data.images.shape[1]
    classes = enumerate(zip_longest(dataset.get("class_names", ()), names))
    for what, was, now in (
        ("arch", recipe.arch, config.arch),
        ("image side", dataset.get("image_side"), side),
        *((f"class {k}", theirs, ours) for k, (theirs, ours) in classes),
    ):
        if was != now:
            raise ArtefactError(
                f"cannot start from {run}: its {what} is {was}, this run's is {now}; start from a "
                "run of the same network, classes and image side"
            )
    tensors, state = last_checkpoint(run, torch.device("cpu"))
    return Start(
        weights=averaged_network(run, recipe, tensors, len(names), side).state_dict(),
        record={
            "run": run.resolve().name,
            "step": state["step"],
            "config_sha256": sha256_file(run / CONFIG),
            "label_use": learned_label_use(read_run_config(run)),
        },
    )
