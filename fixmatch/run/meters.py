"""What is measured between two evaluations, summed on the device without waiting for it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fmsel.fixmatch.loss import Losses
from fmsel.fixmatch.rules import PseudoLabels


@dataclass(frozen=True)
class Means:
    """Means over the steps since the last evaluation.

    Attributes:
        steps: number of steps.
        loss, loss_labelled, loss_unlabelled: of one batch.
        mask_rate: share of unlabelled images with a weight above 0; None in supervised runs.
        pseudo_label_accuracy: share of right ones among those whose label the data set knows, an
            oracle; None without any.
    """

    steps: int
    loss: float
    loss_labelled: float
    loss_unlabelled: float
    mask_rate: float | None
    pseudo_label_accuracy: float | None


class Meters:
    """Sums over steps.

    Args:
        truth: (N,) int64 labels of the unlabelled set, -1 where unknown; they are only measured
            against, never trained on.
        device: where the sums are kept.
    """

    def __init__(self, truth: Tensor, device: torch.device) -> None:
        self.truth = truth
        self.sums = torch.zeros(7, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, losses: Losses, pseudo: PseudoLabels | None, index: Tensor | None) -> None:
        """Add one step; `index` (U,) says which unlabelled images `pseudo` speaks of."""
        zero = losses.total.new_zeros(())
        row = [
            zero + 1,
            losses.total.detach(),
            losses.labelled.detach(),
            losses.unlabelled.detach(),
        ]
        if pseudo is None or index is None:
            row += [zero, zero, zero]
        else:
            used = pseudo.weights > 0
            truth = self.truth[index]
            judged = used & (truth >= 0)
            right = judged & (truth == pseudo.classes)
            row += [used.float().mean(), judged.float().sum(), right.float().sum()]
        self.sums += torch.stack(row).double()

    def read(self, supervised: bool) -> Means:
        """The means so far; waits for the device. At least one step must have been added."""
        steps, loss, labelled, unlabelled, mask, judged, right = self.sums.tolist()
        return Means(
            steps=int(steps),
            loss=loss / steps,
            loss_labelled=labelled / steps,
            loss_unlabelled=unlabelled / steps,
            mask_rate=None if supervised else mask / steps,
            pseudo_label_accuracy=right / judged if judged else None,
        )

    def reset(self) -> None:
        self.sums.zero_()
