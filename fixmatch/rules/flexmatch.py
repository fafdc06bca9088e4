"""A lower threshold for classes that fewer images were confidently put into.

Zhang et al. 2021, FlexMatch (arXiv 2110.08263), section 3: curriculum pseudo labelling with
threshold warm-up and the convex mapping. Code: USB (microsoft/Semi-supervised-learning),
semilearn/algorithms/flexmatch/utils.py, which counts on the host at every step.
"""

import torch
from torch import Tensor

from fmsel.fixmatch.rules import PseudoLabels, RuleContext, WeakView
from fmsel.fixmatch.rules.parts.predictions import thresholded
from fmsel.fixmatch.rules.parts.prior import refuse_prior
from fmsel.fixmatch.rules.parts.state import InPlaceState
from fmsel.training.engine.counts import smaller_than_each


class FlexMatch(InPlaceState):
    """Threshold of class c: tau * b / (2 - b), b = images of class c / images of the largest.

    Images without a class yet count as one more class among the largest: the paper's warm-up.

    Attributes:
        latest: (N,) int64, the class that each image was last put into with a confidence of at
            least tau; -1 before.
    """

    def __init__(self, context: RuleContext) -> None:
        self.context = context
        self.latest = torch.full((context.n_unlabelled,), -1, device=context.device)

    def __call__(self, view: WeakView) -> PseudoLabels:
        confidence, classes = view.logits.softmax(dim=1).max(dim=1)  # (U,), (U,)
        thresholds = self.context.threshold * self.learned()
        pseudo = thresholded(view.logits, thresholds[classes], self.context)
        self.remember(view.index, classes, confidence >= self.context.threshold)
        return pseudo

    def learned(self) -> Tensor:
        """(C,) float32 in [0, 1], b / (2 - b) of each class."""
        below = smaller_than_each(self.latest + 1, self.context.n_classes + 1)
        counts = below.diff(append=torch.full_like(below[:1], len(self.latest)))
        share = counts[1:] / counts.max()
        return share / (2 - share)

    def remember(self, index: Tensor, classes: Tensor, confident: Tensor) -> None:
        """Note the classes of confident images.

        An image may be in a batch twice: its last confident view counts, on every device.
        """
        position = torch.arange(1, len(index) + 1, device=index.device) * confident
        last = torch.zeros_like(self.latest).scatter_reduce_(0, index, position, "amax")  # (N,)
        noted = classes[(last - 1).clamp_min(0)]
        self.latest.copy_(torch.where(last > 0, noted, self.latest))

    def state_dict(self) -> dict[str, Tensor]:
        return {"latest": self.latest}


def make(context: RuleContext) -> FlexMatch:
    """Raises OptionError if a prior is given."""
    refuse_prior("flexmatch", context)
    return FlexMatch(context)
