"""How far each image is from the border of its label's region, in Linf; networks held it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmsel.datasets import ImageDataset
from fmsel.metrics.evidence.attack.networks import attack_networks, plan_attacks
from fmsel.metrics.evidence.jobs.plan import Plan
from fmsel.metrics.evidence.jobs.settings import Settings


@dataclass(frozen=True, kw_only=True, eq=False)
class AdversarialLinf:
    """Signed Linf distances.

    Attributes:
        distances: (R, N) float32, for the network of repetition r that held image i out, pixels in
            [0, 1]: plus the way out of the label's region, minus the way into it.
        parameters: norm, iterations, and the share of attacks that failed, JSON-able.
    """

    distances: npt.NDArray[np.float32]
    parameters: Mapping[str, Any]


def plan(data: ImageDataset, settings: Settings) -> Plan:
    """One attack on each network of `crossfit`.

    Raises:
        DataError: there is only one class, or `crossfit` cannot be made.
    """
    return plan_attacks(data, settings, "Linf")


def make(
    data: ImageDataset, plan: Plan, settings: Settings, made: Mapping[str, Any]
) -> AdversarialLinf:
    """Attack every network on the images that it held out."""
    distances, parameters = attack_networks(
        "adversarial_linf", data, plan, settings, made["crossfit"], "Linf"
    )
    return AdversarialLinf(distances=distances, parameters=parameters)
