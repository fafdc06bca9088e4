"""From logits to targets, weights and class shares; nothing here waits for the device."""

import torch
from torch import Tensor

from fmsel.fixmatch.rules import PseudoLabels, RuleContext

EPSILON = 1e-6  # ReMixMatch's, AdaMatch's and USB's code; keeps the ratio finite


def targets(logits: Tensor, context: RuleContext) -> Tensor:
    """(U,) int64 classes, or (U, C) float32 sharpened distributions where labels are soft.

    softmax(logits / T) is softmax(logits)^(1 / T), normalised: ReMixMatch's sharpening.
    """
    if context.hard:
        return logits.argmax(dim=1)
    return (logits / context.temperature).softmax(dim=1)


def thresholded(logits: Tensor, threshold: float | Tensor, context: RuleContext) -> PseudoLabels:
    """Keep what reaches the threshold.

    Args:
        logits: (U, C) float32.
        threshold: one, a scalar tensor or (U,), one an image.
        context: says whether targets are hard.
    """
    confidence = logits.softmax(dim=1).amax(dim=1)  # (U,)
    return PseudoLabels(targets(logits, context), (confidence >= threshold).float())


def aligned(logits: Tensor, target: Tensor, predicted: Tensor) -> Tensor:
    """Logits of softmax(logits) * target / predicted, normalised (ReMixMatch, section 3.1).

    Args:
        logits: (U, C) float32.
        target: (C,) float32, the class shares wanted.
        predicted: (C,) float32, the mean prediction so far.
    """
    return logits + ((target + EPSILON) / (predicted + EPSILON)).log()


def indicator(classes: Tensor, n_classes: int) -> Tensor:
    """(U,) int64 -> (U, C) float32 one-hot; unlike bincount, its mean does not synchronise."""
    return (classes[:, None] == torch.arange(n_classes, device=classes.device)).float()
