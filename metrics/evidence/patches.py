"""Patch features of every image (`fmsel.embeddings.patches`): no labels, no training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.embeddings.patches import PatchConfig, encode, patch_size
from fmsel.errors import DataError
from fmsel.metrics.evidence.jobs.plan import Plan
from fmsel.metrics.evidence.jobs.settings import Settings
from fmsel.progress import progress_bar

STEPS = 7.0  # image steps that encoding one image takes, measured on two CPU cores


@dataclass(frozen=True, kw_only=True, eq=False)
class Patches:
    """Patch features.

    Attributes:
        features: (N, D) float32, non-negative; shared by all who read them, so not to be changed.
        parameters: JSON-able.
    """

    features: npt.NDArray[np.float32]
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """One pass over the images.

    Raises:
        DataError: images below 4 pixels.
    """
    config = PatchConfig()
    patch_size(config, data.images.shape[1])
    width = 8 * config.filters
    return Plan(
        what=f"{width:,} patch features of {len(data):,} images "
        f"({len(data) * width * 4 / 1e6:,.0f} MB)",
        work={(): STEPS * len(data)},
    )


def make(data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]) -> Patches:
    """Encode every image.

    Raises:
        DataError: images that are all alike.
    """
    config = PatchConfig()
    settings.say(f"patches: {plan.what}")
    device, _ = settings.place()
    with progress_bar("patch features", len(data)) as advance:
        features = encode(data.images, config, seed=settings.seed, device=device, advance=advance)
    if not features.var(axis=0).any():
        raise DataError(
            f"all images of {data.name} look the same to the patch features, so there is nothing "
            "to learn from them; check the images"
        )
    return Patches(
        features=features,
        parameters={
            "filters": config.filters,
            "patch": patch_size(config, data.images.shape[1]),
        },
    )
