"""The classes that the averaged network gave every image at the last evaluations."""

import torch
from torch import Tensor

KEPT = 20  # evaluations: those that a run's accuracy is the median of


def no_history(n: int, n_classes: int, device: torch.device) -> Tensor:
    """(0, N) uint8, or int16 where there are more than 256 classes."""
    dtype = torch.uint8 if n_classes <= 256 else torch.int16
    return torch.empty((0, n), dtype=dtype, device=device)


def with_row(history: Tensor, classes: Tensor) -> Tensor:
    """(E, N) and (N,) -> (min(E + 1, `KEPT`), N); the oldest row comes first."""
    return torch.cat([history, classes[None].to(history.dtype)])[-KEPT:]
