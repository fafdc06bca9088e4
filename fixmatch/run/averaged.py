"""A run's averaged network, read back from its folder; the run need not be finished."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fmsel.errors import ArtefactError, OptionError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run.folder import RunFolder
from fmsel.fixmatch.run.record import CONFIG, read_run_config
from fmsel.training.networks.build import build_network
from fmsel.training.networks.network import Network

DATASET_FIELDS = {"dataset", "source", "n", "images_sha256"}


def read_recipe(run: Path) -> tuple[FixMatchConfig, Mapping[str, Any]]:
    """The recipe of a run, finished or not, and the description of its train part.

    Raises:
        ArtefactError: no run folder, or a broken config.json.
    """
    path, values = run / CONFIG, read_run_config(run)
    try:
        config, dataset = FixMatchConfig.from_dict(values["fixmatch"]), dict(values["dataset"])
    except KeyError as error:
        raise ArtefactError(f"{path} lacks the field {error}") from error
    except (OptionError, TypeError, ValueError) as error:
        raise ArtefactError(f"{path} is broken: {error}") from error
    if missing := sorted(DATASET_FIELDS - dataset.keys()):
        raise ArtefactError(f"{path} lacks the field {missing[0]!r} of its data set")
    return config, dataset


def last_checkpoint(run: Path, device: torch.device) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors, state) of a run's newest good checkpoint.

    Raises:
        ArtefactError: there is none.
    """
    saved = RunFolder(run).restore(device)
    if saved is None:
        raise ArtefactError(
            f"the run {run} has no checkpoint yet; go on with `fmsel train --resume`"
        )
    return saved


def averaged_network(
    run: Path, config: FixMatchConfig, tensors: Mapping[str, Any], n_classes: int, side: int
) -> Network:
    """The averaged parameters with the live batch norm statistics, on the CPU.

    Args:
        run, config: the run and its recipe.
        tensors: of its checkpoint.
        n_classes, side: C, and H = W in pixels.
    Raises:
        ArtefactError: the tensors are not those of the recipe's network.
    """
    network = build_network(
        config.arch, n_classes=n_classes, image_side=side, bn_momentum=config.bn_momentum, seed=0
    )
    try:
        learner = tensors["learner"]
        network.load_state_dict({**learner["model"], **learner["ema"]})
    except (KeyError, RuntimeError) as error:
        raise ArtefactError(
            f"the checkpoint of {run} does not belong to its {CONFIG}; train again with --force"
        ) from error
    return network
