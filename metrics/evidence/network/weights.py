"""A trained network's weights as plain arrays, to be cached and to be gone on from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fmsel.metrics.evidence.network.recipe import Recipe

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedNetwork:
    """A finished network of an ensemble.

    Attributes:
        recipe: how it was trained.
        weights: parameters and running statistics, by name.
        held_out: (N,) bool, true for the images that it never saw.
    """

    recipe: Recipe
    weights: Arrays
    held_out: npt.NDArray[np.bool_]


def weights_of(model: nn.Module) -> dict[str, npt.NDArray[np.generic]]:
    """Every parameter and buffer, copied to host memory."""
    return {name: t.detach().cpu().numpy().copy() for name, t in model.state_dict().items()}


def load_weights(model: nn.Module, weights: Arrays) -> None:
    """Put weights made by `weights_of` into a network of the same architecture, in place."""
    model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
