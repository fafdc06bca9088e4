"""A fixed threshold on predictions aligned with a class prior.

Berthelot et al. 2020, ReMixMatch (arXiv 1911.09785), section 3.1; with FixMatch's threshold as in
Sohn et al. 2020, section 4.1. Code: google-research/remixmatch, remixmatch_no_cta.py, guess_label.
"""

from torch import Tensor

from fmsel.fixmatch.rules import PseudoLabels, RuleContext, WeakView
from fmsel.fixmatch.rules.parts.averages import RecentMean
from fmsel.fixmatch.rules.parts.predictions import aligned, thresholded
from fmsel.fixmatch.rules.parts.prior import prior_or_uniform
from fmsel.fixmatch.rules.parts.state import InPlaceState


class DistributionAlignment(InPlaceState):
    """Multiply by prior / mean prediction of the last 128 steps, normalise, then threshold.

    Attributes:
        target: (C,) float32, the prior; uniform unless given.
        predicted: mean of the weak views' softmax, without the current step, as in the code.
    """

    def __init__(self, context: RuleContext) -> None:
        self.context = context
        self.target = prior_or_uniform(context)
        self.predicted = RecentMean(context.n_classes, context.device)

    def __call__(self, view: WeakView) -> PseudoLabels:
        logits = aligned(view.logits, self.target, self.predicted.mean)
        self.predicted.add(view.logits.softmax(dim=1).mean(dim=0))
        return thresholded(logits, self.context.threshold, self.context)

    def state_dict(self) -> dict[str, Tensor]:
        return {"predicted": self.predicted.steps}


def make(context: RuleContext) -> DistributionAlignment:
    return DistributionAlignment(context)
