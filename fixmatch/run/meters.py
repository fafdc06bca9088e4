"""What is measured between two evaluations, summed on the device without waiting for it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fmsel.fixmatch.loss import Losses
from fmsel.fixmatch.rules import PseudoLabels

COLLAPSE_MASK = 0.5  # no alarm while fewer images than this share have a pseudo-label


@dataclass(frozen=True)
class Means:
    """Means over the steps since the last evaluation.

    Attributes:
        steps: number of steps.
        loss, loss_labelled, loss_unlabelled: of one batch.
        mask_rate: mean weight of the unlabelled images: where weights are 0 or 1, the share of
            those with a pseudo-label; None in supervised runs.
        pseudo_label_accuracy: share of right pseudo-labels, by weight, among those whose label the
            data set knows, an oracle; None without any.
        largest_class_share: of the pseudo-labels, by weight, the share of the commonest class;
            None without any.
        accuracy_labelled: share of right predictions of the live network on the labelled batches it
            learned from, augmented as they were; None where no step counted them.
    """

    steps: int
    loss: float
    loss_labelled: float
    loss_unlabelled: float
    mask_rate: float | None
    pseudo_label_accuracy: float | None
    largest_class_share: float | None
    accuracy_labelled: float | None


def collapsed(mask_rate: float | None, share: float | None, n_classes: int) -> bool:
    """Whether one class has taken the mask.

    Most images have a pseudo-label (few confident ones of one class are common early on), and the
    commonest class has more of them than half-way between its part of balanced data and all.

    Args:
        mask_rate, share: `Means.mask_rate` and `Means.largest_class_share`.
        n_classes: C.
    """
    if mask_rate is None or share is None:
        return False
    return mask_rate > COLLAPSE_MASK and share > (1 + 1 / n_classes) / 2


class Meters:
    """Sums over steps.

    Args:
        truth: (N,) int64 labels of the unlabelled set, -1 where unknown; they are only measured
            against, never trained on.
        n_classes: C.
        frozen: () float32 on the device; while it is 1, nothing is added.

    Attributes:
        sums: (9 + C,) float64; the last C count pseudo-labels by class.
    """

    def __init__(self, truth: Tensor, n_classes: int, frozen: Tensor) -> None:
        self.truth, self.frozen = truth, frozen
        self.classes = torch.arange(n_classes, device=truth.device)
        self.sums = torch.zeros(9 + n_classes, dtype=torch.float64, device=truth.device)

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
            counts = zero.new_zeros(len(self.classes))
        else:
            weights, truth = pseudo.weights, self.truth[index]
            judged = weights * (truth >= 0)
            right = judged * (truth == pseudo.classes)
            row += [weights.mean(), judged.sum(), right.sum()]
            # Not bincount, which waits for the device.
            hits = (pseudo.classes[:, None] == self.classes) * weights[:, None]  # (U, C)
            counts = hits.sum(dim=0)
        row += [zero + 1, losses.right]
        added = torch.cat([torch.stack(row).double(), counts.double()])
        self.sums += torch.where(self.frozen > 0, 0.0, added)

    def read(self, supervised: bool) -> Means:
        """The means so far; waits for the device. At least one step must have been added."""
        steps, loss, labelled, unlabelled, mask, judged, right, counted, learned, *counts = (
            self.sums.tolist()
        )
        return Means(
            steps=int(steps),
            loss=loss / steps,
            loss_labelled=labelled / steps,
            loss_unlabelled=unlabelled / steps,
            mask_rate=None if supervised else mask / steps,
            pseudo_label_accuracy=right / judged if judged else None,
            largest_class_share=max(counts) / sum(counts) if any(counts) else None,
            accuracy_labelled=learned / counted if counted else None,
        )

    def reset(self) -> None:
        self.sums.zero_()

    def load(self, sums: Tensor) -> None:
        """Go on from the sums of a checkpoint.

        An older fmsel did not count right labelled predictions, so `accuracy_labelled` leaves out
        the steps before its checkpoint.
        """
        if len(sums) == len(self.sums) - 2:
            sums = torch.cat([sums[:7], sums.new_zeros(2), sums[7:]])
        self.sums.copy_(sums)
