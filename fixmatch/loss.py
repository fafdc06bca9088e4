"""The loss of FixMatch (section 2.2, equations 3 and 4)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from fmsel.fixmatch.rules import PseudoLabels


@dataclass(frozen=True)
class Losses:
    """Scalars, float32; `total = labelled + lambda_u * unlabelled + penalty`.

    `right` is no loss: the share of the labelled batch whose class the network gave.
    """

    total: Tensor
    labelled: Tensor
    unlabelled: Tensor
    right: Tensor


def supervised_loss(logits: Tensor, labels: Tensor) -> Losses:
    """Cross-entropy of the labelled batch alone: (B, C) float32, (B,) int64."""
    labelled = F.cross_entropy(logits, labels)
    return Losses(labelled, labelled, labelled.new_zeros(()), _right(logits, labels))


def fixmatch_loss(
    logits: Tensor, labels: Tensor, strong: Tensor, pseudo: PseudoLabels, lambda_u: float
) -> Losses:
    """Labelled cross-entropy plus weighted cross-entropy of the strong views.

    The unlabelled mean runs over all U images, also those of weight 0 (equation 4): few confident
    images mean a small loss, not a loud one.

    Args:
        logits: (B, C) float32, of the labelled images.
        labels: (B,) int64.
        strong: (U, C) float32, of the strong views.
        pseudo: targets and weights, without gradient; its penalty joins the total as it is.
        lambda_u: weight of the unlabelled loss.
    """
    labelled = F.cross_entropy(logits, labels)
    each = F.cross_entropy(strong, pseudo.targets, reduction="none")  # (U,)
    unlabelled = (each * pseudo.weights).mean()
    total = labelled + lambda_u * unlabelled
    if pseudo.penalty is not None:
        total = total + pseudo.penalty(strong)
    return Losses(total, labelled, unlabelled, _right(logits, labels))


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.detach().argmax(dim=1) == labels).float().mean()
