"""`load_trained`: a run's averaged network, read back from its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fmsel.artefacts import sha256_file
from fmsel.datasets import ImageDataset, Source, load_dataset
from fmsel.errors import ArtefactError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run.averaged import averaged_network, last_checkpoint, read_recipe
from fmsel.fixmatch.run.record import CONFIG
from fmsel.training.augment.weak import to_float
from fmsel.training.networks.network import Network


class Classifier(nn.Module):
    """A network that takes images as they are decoded, and gives class probabilities.

    Args:
        network: (B, 3, S, S) float32 in [-1, 1] -> (B, C) logits.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, C) float32, each row sums to 1."""
        logits: Tensor = self.network(to_float(images.permute(0, 3, 1, 2)))
        return logits.float().softmax(dim=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A run's network as FixMatch evaluates it.

    Attributes:
        run: the run folder.
        network: the averaged parameters with the live batch norm statistics, in evaluation mode;
            (B, 3, S, S) float32 in [-1, 1] -> (B, C) logits.
        config: the recipe; its `steps` are those planned.
        step: the steps done.
        class_names: C names.
        image_side: S in pixels.
        config_sha256: of the run's config.json.
        history: (E, N) int64 classes that the averaged network gave every training image at the
            last E evaluations, the newest last; None where none were kept, or none made yet.
    """

    run: Path
    network: Network
    config: FixMatchConfig
    step: int
    class_names: tuple[str, ...]
    image_side: int
    config_sha256: str
    history: npt.NDArray[np.int64] | None = None

    @property
    def progress(self) -> str:
        """Such as "step 400 of 400"."""
        unfinished = "" if self.step == self.config.steps else ", the run is not finished"
        return f"step {self.step:,} of {self.config.steps:,}{unfinished}"


def load_trained(
    run: Path,
    device: torch.device | str = "cpu",
    *,
    data_root: Path | None = None,
    offline: bool = False,
) -> Trained:
    """The averaged network of a run's last checkpoint; the run need not be finished.

    Args:
        run: the run folder.
        device: of the network.
        data_root, offline: as for `load_dataset`, for a run whose config.json does not hold the
            class names and the image side: these then come from its data set.
    Raises:
        ArtefactError: no run folder, a run without a checkpoint, or broken files.
        DataError: the data set is needed and cannot be loaded.
    """
    config, dataset = read_recipe(run)
    tensors, state = last_checkpoint(run, torch.device(device))
    if "class_names" in dataset and "image_side" in dataset:
        names, side = tuple(dataset["class_names"]), dataset["image_side"]
    else:
        data = run_dataset(run, data_root=data_root, offline=offline)
        names, side = data.class_names, data.images.shape[1]
    history: Tensor | None = tensors.get("history")
    return Trained(
        run=run,
        network=averaged_network(run, config, tensors, len(names), side).to(device).eval(),
        config=config,
        step=state["step"],
        class_names=names,
        image_side=side,
        config_sha256=sha256_file(run / CONFIG),
        history=history.cpu().long().numpy() if history is not None and len(history) else None,
    )


def run_dataset(run: Path, *, data_root: Path | None = None, offline: bool = False) -> ImageDataset:
    """The train part that a run was trained on.

    Args:
        run: the run folder.
        data_root, offline: as for `load_dataset`.
    Raises:
        ArtefactError: a broken run, or the images found are not those of the run.
        DataError: the images cannot be loaded.
    """
    _, dataset = read_recipe(run)
    source = Source.from_dict(dataset["source"])
    data = load_dataset(source, "train", data_root=data_root, offline=offline)
    if data.images_sha256 != dataset["images_sha256"]:
        raise other_images(run, dataset, data, "name their place with --data-root")
    return data


def other_images(
    run: Path, dataset: Mapping[str, Any], data: ImageDataset, remedy: str
) -> ArtefactError:
    """What to raise where `data` holds other images than `dataset`, those of the run."""
    return ArtefactError(
        f"{run} was trained on {dataset['n']} images of {dataset['dataset']}, not on these "
        f"{len(data)} images of {data.name} (their sha256 differ); {remedy}"
    )
