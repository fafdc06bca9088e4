"""Count values on the device, in a way that a CUDA graph can record."""

import torch
from torch import Tensor


def smaller_than_each(values: Tensor, bins: int) -> Tensor:
    """How many values of a row are below 0, 1, …, `bins` - 1.

    Where torch is to be deterministic, by sorting: for a sum over equal places some versions then
    read on the host, which a recording forbids. Both ways give the same numbers.

    Args:
        values: (…, P) int64 in [0, bins).
        bins: one or more.
    Returns:
        (…, bins) int64.
    """
    shape = (*values.shape[:-1], bins)
    if torch.are_deterministic_algorithms_enabled():
        each = torch.arange(bins, device=values.device).expand(shape).contiguous()
        return torch.searchsorted(values.sort(dim=-1).values, each)
    counts = values.new_zeros(shape).scatter_add_(-1, values, torch.ones_like(values))
    return counts.cumsum(-1) - counts
