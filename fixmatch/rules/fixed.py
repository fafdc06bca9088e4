"""One fixed confidence threshold for all images and classes (FixMatch, equation 4)."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from fmsel.fixmatch.rules import PseudoLabels, RuleContext, WeakView
from fmsel.fixmatch.rules.parts.predictions import thresholded
from fmsel.fixmatch.rules.parts.prior import refuse_prior


@dataclass(frozen=True)
class Fixed:
    """Keep the prediction where its probability reaches the threshold; stateless."""

    context: RuleContext

    def __call__(self, view: WeakView) -> PseudoLabels:
        return thresholded(view.logits, self.context.threshold, self.context)

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        del state


def make(context: RuleContext) -> Fixed:
    """Raises OptionError if a prior is given."""
    refuse_prior("fixed", context)
    return Fixed(context)
