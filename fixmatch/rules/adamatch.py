"""Alignment with the labelled predictions, and a threshold relative to their confidence.

Berthelot et al. 2022, AdaMatch (arXiv 2106.04732), section 3: distribution alignment and relative
confidence threshold. Code: google-research/adamatch, semi_supervised/adamatch.py. Its random
logit interpolation and its ramped loss weight are no part of the rule.
"""

from torch import Tensor

from fmsel.fixmatch.rules import PseudoLabels, RuleContext, WeakView
from fmsel.fixmatch.rules.parts.averages import RecentMean, follow
from fmsel.fixmatch.rules.parts.predictions import aligned, thresholded
from fmsel.fixmatch.rules.parts.prior import prior_or_uniform
from fmsel.fixmatch.rules.parts.state import InPlaceState


class AdaMatch(InPlaceState):
    """Multiply by mean labelled / mean unlabelled prediction, normalise, then threshold.

    Attributes:
        target: (C,) float32, the given prior, or the exponential mean of the labelled images'
            softmax, from uniform on.
        predicted: mean of the weak views' softmax over the last 128 steps, the current one among
            them.
    """

    def __init__(self, context: RuleContext) -> None:
        self.context = context
        self.target = prior_or_uniform(context)
        self.predicted = RecentMean(context.n_classes, context.device)

    def __call__(self, view: WeakView) -> PseudoLabels:
        labelled = view.labelled_logits.softmax(dim=1)  # (B, C)
        if self.context.prior is None:
            follow(self.target, labelled.mean(dim=0))
        self.predicted.add(view.logits.softmax(dim=1).mean(dim=0))
        logits = aligned(view.logits, self.target, self.predicted.mean)
        threshold = self.context.threshold * labelled.amax(dim=1).mean()
        return thresholded(logits, threshold, self.context)

    def state_dict(self) -> dict[str, Tensor]:
        learned = {"target": self.target} if self.context.prior is None else {}
        return {"predicted": self.predicted.steps, **learned}


def make(context: RuleContext) -> AdaMatch:
    return AdaMatch(context)
