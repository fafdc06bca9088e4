"""No threshold: the less confident than usual, the less weight.

Chen et al. 2023, SoftMatch (arXiv 2301.10921), section 3: truncated Gaussian weight and uniform
alignment. Code: USB (microsoft/Semi-supervised-learning), semilearn/algorithms/softmatch/utils.py
and semilearn/algorithms/hooks/dist_align.py.
"""

import torch
from torch import Tensor

from fmsel.fixmatch.rules import PseudoLabels, RuleContext, WeakView
from fmsel.fixmatch.rules.parts.averages import DECAY, follow
from fmsel.fixmatch.rules.parts.predictions import aligned, targets
from fmsel.fixmatch.rules.parts.prior import prior_or_uniform
from fmsel.fixmatch.rules.parts.state import InPlaceState

N_SIGMA = 2  # USB: n_sigma of every config/classic_cv file; the Gaussian's width is sigma / 2
READS_THRESHOLD = False


class SoftMatch(InPlaceState):
    """Weights from aligned predictions, targets from unaligned ones; the threshold is not used.

    Attributes:
        target: (C,) float32, the prior; uniform unless given.
        predicted: (C,) float32, exponential mean of the weak views' softmax, which starts as the
            first step's; zeros before that.
        mean: scalar float32, exponential mean of the aligned confidence, from 1 / C on.
        variance: scalar float32, of its unbiased variance within a step, from 1 on.
    """

    def __init__(self, context: RuleContext) -> None:
        self.context = context
        self.target = prior_or_uniform(context)
        self.predicted = torch.zeros(context.n_classes, device=context.device)
        self.mean = torch.full((), 1 / context.n_classes, device=context.device)
        self.variance = torch.ones((), device=context.device)

    def __call__(self, view: WeakView) -> PseudoLabels:
        rate = torch.where(self.predicted.any(), 1 - DECAY, 1.0)  # no host branch: graphs replay it
        self.predicted.lerp_(view.logits.softmax(dim=1).mean(dim=0), rate)
        logits = aligned(view.logits, self.target, self.predicted)
        confidence = logits.softmax(dim=1).amax(dim=1)  # (U,)
        follow(self.mean, confidence.mean())
        follow(self.variance, confidence.var(correction=min(1, len(confidence) - 1)))
        shortfall = (self.mean - confidence).clamp_min(0)
        weights = (-((N_SIGMA * shortfall) ** 2) / (2 * self.variance)).exp()
        return PseudoLabels(targets(view.logits, self.context), weights)

    def state_dict(self) -> dict[str, Tensor]:
        return {"predicted": self.predicted, "mean": self.mean, "variance": self.variance}


def make(context: RuleContext) -> SoftMatch:
    return SoftMatch(context)
