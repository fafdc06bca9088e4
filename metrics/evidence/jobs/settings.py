"""What the user settles about the making of evidence."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from fmsel.embeddings.vectors import Embeddings
from fmsel.training.engine.device import Precision, resolve_device, resolve_precision


def _quiet(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How evidence is made.

    Attributes:
        seed: any integer >= 0.
        device, precision: as `resolve_device` and `resolve_precision` take them.
        cache: keep and reuse what finished jobs gave.
        embeddings: of the images to score, for the label-free metrics; None = patch features.
        say: called with one line before each long job: what it will do and what it needs.
    """

    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    cache: bool = True
    embeddings: Embeddings | None = None
    say: Callable[[str], None] = _quiet

    def place(self) -> tuple[torch.device, Precision]:
        """The device, and the precision of convolutions on it; DeviceError, OptionError."""
        device = resolve_device(self.device)
        return device, resolve_precision(self.precision, device)
