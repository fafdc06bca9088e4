"""Nothing is learnt from a loss that is not finite, without the host looking at every step."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Guard:
    """Freezes all that a step changes, from the first step with a number that is not finite.

    All of it happens on the device, so it can be captured in a CUDA graph, and the host may look at
    `first_bad` as seldom as it likes. In a step:

    1. `keep` what the forward pass changes (batch norm's statistics, the rule's state, …);
    2. after the backward pass, `judge` the loss, the gradients and the statistics: a batch norm
       whose variance overflows gives a finite loss;
    3. step the fused optimiser, whose `found_inf` is `frozen`: torch's fused kernels then leave
       weights and momentum alone, as they do for a gradient scaler; update averages by
       `held(decay, 1)`;
    4. `put_back` what was kept.

    Args:
        device: of the network.

    Attributes:
        first_bad: () int64, number of the first bad step, from 1; 0 without one.
        frozen: () float32, 1 from the first bad step on; 0 before.
    """

    def __init__(self, device: torch.device) -> None:
        self.step = torch.zeros((), dtype=torch.int64, device=device)
        self.first_bad = torch.zeros((), dtype=torch.int64, device=device)
        self.frozen = torch.zeros((), device=device)
        self._kept: dict[torch.dtype, Tensor] = {}

    def begin(self, step: int) -> None:
        """Say that step 0, 1, … comes next; not to be captured."""
        self.step.fill_(step + 1)

    @torch.no_grad()
    def keep(self, tensors: Sequence[Tensor]) -> None:
        """Remember the values of `tensors`."""
        self._kept = {dtype: _joined(group) for dtype, group in _by_dtype(tensors).items()}

    @torch.no_grad()
    def judge(self, loss: Tensor, tensors: Sequence[Tensor]) -> None:
        """Freeze if `loss`, a scalar, or any of `tensors`, of float dtypes, is not finite."""
        # Largest absolute values: they are nan where a tensor is, and never overflow.
        largest = torch._foreach_norm(list(tensors), torch.inf)
        finite = torch.stack([loss.float(), *(each.float() for each in largest)]).isfinite().all()
        first = (self.first_bad == 0) & ~finite
        self.first_bad.copy_(torch.where(first, self.step, self.first_bad))
        self.frozen.copy_(self.first_bad > 0)

    def held(self, value: Tensor, when_frozen: float) -> Tensor:
        """`value`, or `when_frozen` once frozen; same shape and dtype."""
        return torch.where(self.frozen > 0, when_frozen, value)

    @torch.no_grad()
    def put_back(self, tensors: Sequence[Tensor]) -> None:
        """Once frozen, give `tensors`, the same as in `keep`, the values they had there."""
        for dtype, group in _by_dtype(tensors).items():
            values = torch.where(self.frozen > 0, self._kept[dtype], _joined(group))
            parts = torch.split(values, [each.numel() for each in group])
            shaped = [part.view(each.shape) for part, each in zip(parts, group, strict=True)]
            torch._foreach_copy_(group, shaped)


def _by_dtype(tensors: Sequence[Tensor]) -> dict[torch.dtype, list[Tensor]]:
    dtypes = dict.fromkeys(each.dtype for each in tensors)
    return {dtype: [each for each in tensors if each.dtype == dtype] for dtype in dtypes}


def _joined(group: Sequence[Tensor]) -> Tensor:
    """One kernel for many small tensors."""
    return torch.cat([each.flatten() for each in group])
