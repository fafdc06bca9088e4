"""A threshold that follows the mean confidence, lower for classes predicted less, and fairness.

Wang et al. 2023, FreeMatch (arXiv 2205.07246), section 4: self-adaptive thresholding and
self-adaptive fairness. Code: USB (microsoft/Semi-supervised-learning),
semilearn/algorithms/freematch.
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from fmsel.fixmatch.rules import PseudoLabels, RuleContext, WeakView
from fmsel.fixmatch.rules.parts.averages import follow
from fmsel.fixmatch.rules.parts.predictions import indicator, thresholded
from fmsel.fixmatch.rules.parts.prior import refuse_prior
from fmsel.fixmatch.rules.parts.state import InPlaceState

FAIRNESS = 0.001  # w_f; USB: ent_loss_ratio of every config/classic_cv/freematch file
LOG_EPSILON = 1e-12  # USB: freematch.py, entropy_loss
READS_THRESHOLD = False


class FreeMatch(InPlaceState):
    """Threshold of class c: mean confidence * predicted[c] / max(predicted).

    The configured threshold is not used.

    Attributes:
        confidence: scalar float32, exponential mean of the weak views' highest softmax.
        predicted: (C,) float32, exponential mean of their softmax.
        histogram: (C,) float32, exponential mean of the shares of their predicted classes. All
            three start at 1 / C and take in the current step before they are used.
    """

    def __init__(self, context: RuleContext) -> None:
        self.context = context
        uniform = torch.full((context.n_classes,), 1 / context.n_classes, device=context.device)
        self.confidence = uniform[0].clone()
        self.predicted, self.histogram = uniform, uniform.clone()

    def __call__(self, view: WeakView) -> PseudoLabels:
        probabilities = view.logits.softmax(dim=1)
        confidence, classes = probabilities.max(dim=1)  # (U,), (U,)
        follow(self.confidence, confidence.mean())
        follow(self.predicted, probabilities.mean(dim=0))
        follow(self.histogram, indicator(classes, self.context.n_classes).mean(dim=0))
        thresholds = self.confidence * self.predicted / self.predicted.max()  # (C,)
        pseudo = thresholded(view.logits, thresholds[classes], self.context)
        wanted = per_prediction(self.predicted, self.histogram)
        return replace(pseudo, penalty=partial(fairness, wanted=wanted, weights=pseudo.weights))

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "confidence": self.confidence,
            "predicted": self.predicted,
            "histogram": self.histogram,
        }


def per_prediction(predicted: Tensor, histogram: Tensor) -> Tensor:
    """SumNorm(predicted / histogram), (C,) each; a class that nothing fell into gets 0."""
    inverse = (1 / histogram).nan_to_num(posinf=0.0)
    return F.normalize(predicted * inverse, p=1.0, dim=0)


def fairness(strong: Tensor, *, wanted: Tensor, weights: Tensor) -> Tensor:
    """w_f times the fairness loss: the negative cross-entropy of `wanted` and the strong shares.

    Weights take the place of the code's selection by mask, whose shape would depend on the data.

    Args:
        strong: (U, C) float32 logits, with gradient.
        wanted: (C,) float32, `per_prediction` of the running means.
        weights: (U,) float32, 1 where an image is confident, else 0.
    Returns:
        A scalar; 0, with gradient 0, where no image is confident.
    """
    count = weights.sum()
    shares = weights[:, None] / count.clamp_min(1)  # (U, 1), sum to 1 where any is confident
    histogram = (shares * indicator(strong.argmax(dim=1), strong.shape[1])).sum(dim=0)
    found = per_prediction((shares * strong.softmax(dim=1)).sum(dim=0), histogram)  # (C,)
    loss = (wanted * (found + LOG_EPSILON).log()).sum()
    return FAIRNESS * torch.where(count > 0, loss, 0)


def make(context: RuleContext) -> FreeMatch:
    """Raises OptionError if a prior is given."""
    refuse_prior("freematch", context)
    return FreeMatch(context)
