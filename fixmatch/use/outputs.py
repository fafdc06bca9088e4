"""`run_outputs`: what a run's network makes of all training images, as arrays."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch

from fmsel.artefacts import atomic_path, check_output, sha256_array, sha256_json
from fmsel.datasets import ImageDataset
from fmsel.errors import ArtefactError
from fmsel.fixmatch.run.averaged import read_recipe
from fmsel.fixmatch.run.evaluate import BATCH
from fmsel.fixmatch.run.record import OUTPUTS, SPLIT, read_run_config
from fmsel.fixmatch.run.start import learned_label_use
from fmsel.fixmatch.use.weights import Trained, load_trained, other_images
from fmsel.progress import progress_bar
from fmsel.selection.split import Split
from fmsel.selection.split.known import Known
from fmsel.training.augment.weak import to_float
from fmsel.training.engine.device import (
    Precision,
    autocast,
    configure_backends,
    resolve_device,
    resolve_precision,
)
from fmsel.training.networks.network import Network

SCHEMA = 1  # of the cache


@dataclass(frozen=True, kw_only=True, eq=False)
class RunOutputs:
    """Outputs of a run's averaged network for all N training images, in the data set's order.

    Attributes:
        run: the run folder.
        probabilities: (N, C) float32, each row sums to 1.
        features: (N, D) float32, what the last layer reads.
        history: (E, N) int64 classes at the run's last E evaluations, at most 20, the newest last;
            None where it was trained without --keep-history or not evaluated yet.
        step: of the checkpoint.
        config_sha256: of the run's config.json.
        split: the labels that the run learned from.
        label_use: how far the choice of all labels that the network learned from, those of runs
            that it started from too, read labels that nobody has.
    """

    run: Path
    probabilities: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    history: npt.NDArray[np.int64] | None
    step: int
    config_sha256: str
    split: Split
    label_use: Any  # a `LabelUse`, or "unknown"

    @cached_property
    def sha256(self) -> str:
        """Of the three arrays."""
        arrays = (self.probabilities, self.features, self.history)
        return sha256_json([None if each is None else sha256_array(each) for each in arrays])

    @property
    def provenance(self) -> dict[str, Any]:
        """What an artefact made from them says of the run, JSON-able."""
        return {
            "run": self.run.resolve().name,
            "step": self.step,
            "config_sha256": self.config_sha256,
            "split_sha256": self.split.sha256,
            "labels": len(self.split),
            "label_use": self.label_use,
        }

    @property
    def known(self) -> Known:
        """All of it as what `make_split` reads; the labels that the run learned from are held."""
        return Known(
            features=self.features,
            probabilities=self.probabilities,
            history=self.history,
            held=self.split,
            label_use=self.label_use,
            provenance={"run": {**self.provenance, "sha256": self.sha256}},
        )


def run_outputs(
    run: Path, data: ImageDataset, *, device: str = "auto", precision: str = "fp32"
) -> RunOutputs:
    """The outputs of a run's last checkpoint for the images it was trained on, not augmented.

    Probabilities and features are kept in `outputs.npz` in the run folder, and made again where
    that is of another checkpoint, configuration, precision or other images, or broken.

    Args:
        run: the run folder; the run need not be finished.
        data: its train part.
        device: as `resolve_device` takes it.
        precision: of the convolutions: auto, fp32 or bf16; what is returned is float32.
    Raises:
        ArtefactError: no run folder, no checkpoint, broken files, or other images.
        DeviceError, OptionError: the device or precision is not usable.
        OutputError: the run folder cannot be written to.
    """
    _, dataset = read_recipe(run)
    if data.images_sha256 != dataset["images_sha256"]:
        raise other_images(run, dataset, data, "name the data set of the run")
    where = resolve_device(device)
    chosen = resolve_precision(precision, where)
    split, trained = Split.load(run / SPLIT), load_trained(run, where)
    header = {
        "schema": SCHEMA,
        "images_sha256": data.images_sha256,
        "config_sha256": trained.config_sha256,
        "step": trained.step,
        "weights_sha256": _weights_sha256(trained.network),
        "precision": chosen,
    }
    path = run / OUTPUTS
    arrays = _read(path, header)
    if arrays is None:
        check_output(path, force=True)
        arrays = _compute(trained, data.images, where, chosen)
        with atomic_path(path, force=True) as temporary, temporary.open("wb") as file:
            np.savez(file, header=np.array(json.dumps(header)), **arrays._asdict())
    return RunOutputs(
        run=run,
        **arrays._asdict(),
        history=trained.history,
        step=trained.step,
        config_sha256=trained.config_sha256,
        split=split,
        label_use=learned_label_use(read_run_config(run)),
    )


class Arrays(NamedTuple):
    """What `outputs.npz` holds beside its header."""

    probabilities: npt.NDArray[np.float32]  # (N, C)
    features: npt.NDArray[np.float32]  # (N, D)


def _read(path: Path, header: dict[str, Any]) -> Arrays | None:
    """What an earlier call kept; None where it is missing, of something else, or broken."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if json.loads(str(file["header"])) == header:
                return Arrays(file["probabilities"], file["features"])
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        pass
    return None


@torch.inference_mode()
def _compute(
    trained: Trained, images: npt.NDArray[np.uint8], device: torch.device, precision: Precision
) -> Arrays:
    configure_backends(device, deterministic=False)
    network, count = trained.network, len(images)
    probabilities = np.empty((count, len(trained.class_names)), dtype=np.float32)
    features = np.empty((count, network.head.in_features), dtype=np.float32)
    with progress_bar("outputs of the run", count) as advance, autocast(device, precision):
        for start in range(0, count, BATCH):
            rows = slice(start, start + BATCH)
            batch = torch.tensor(images[rows], device=device).permute(0, 3, 1, 2)
            found = network.penultimate(to_float(batch))
            features[rows] = found.float().cpu().numpy()
            probabilities[rows] = network.logits(found).float().softmax(dim=1).cpu().numpy()
            advance(len(batch))
    if not np.isfinite(probabilities).all():
        raise ArtefactError(f"the network of {trained.run} gives nan; train again with --force")
    return Arrays(probabilities, features)


def _weights_sha256(network: Network) -> str:
    """Tells two checkpoints of one step apart, such as those of a run that was made again."""
    weights = network.state_dict().items()
    return sha256_json([[name, sha256_array(value.cpu().numpy())] for name, value in weights])
