"""Strong augmentations: what the network must see through to repeat its own prediction.

Every module in this folder is one augmentation, named by its file (`google_code.py` is
`google-code`), and defines `make(side: int, device: torch.device) -> StrongAugment`. A new one is
one new file.
"""

import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from fmsel.errors import OptionError


class StrongAugment(Protocol):
    """An augmentation of square images; what it learns on the way is in its state."""

    def draw(self, count: int, generator: torch.Generator) -> Sequence[Tensor]:
        """All the chance in `count` images.

        Args:
            count: U.
            generator: on the CPU; every device gets the same draws.
        Returns:
            int64 and float64 tensors on the CPU, whose shapes depend on `count` alone.
        """
        ...

    def distort(self, images: Tensor, draws: Sequence[Tensor]) -> Tensor:
        """Augment a batch whose images are weakly augmented already; no host wait.

        Args:
            images: (U, 3, side, side) uint8 on the device.
            draws: what `draw(U)` gave, on the device.
        Returns:
            (U, 3, side, side) float32 in [-1, 1], new memory.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Augmented copies of labelled images, and what was done to them."""

    images: Tensor  # (B, 3, side, side) float32 in [-1, 1]
    record: Tensor  # whatever the augmentation needs to learn from it, on the device


@runtime_checkable
class LearnedAugment(StrongAugment, Protocol):
    """One that learns during training how strong it may be, such as CTAugment."""

    def probe(self, images: Tensor, draws: Sequence[Tensor]) -> Probe:
        """Distort (B, 3, side, side) uint8 weakly augmented labelled images by `draw(B)`."""
        ...

    def learn(self, probe: Probe, probabilities: Tensor, labels: Tensor) -> None:
        """Learn from the averaged network's (B, C) softmax on `probe.images`; no host wait."""
        ...


class Stateless:
    """The state of an augmentation that learns nothing."""

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        del state


def strong_names() -> list[str]:
    """Names of the strong augmentations there are."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def check_strong(name: str) -> None:
    """Raises OptionError if no strong augmentation is called `name`."""
    if name not in strong_names():
        raise OptionError(f"unknown augment {name!r}; use one of {', '.join(strong_names())}")


def make_strong(name: str, side: int, device: torch.device) -> StrongAugment:
    """A new augmentation by name; OptionError as `check_strong`."""
    check_strong(name)
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    return cast(StrongAugment, module.make(side, device))
