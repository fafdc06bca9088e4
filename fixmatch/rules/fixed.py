"""One fixed confidence threshold for all images and classes (FixMatch, equation 4)."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from fmsel.fixmatch.rules import PseudoLabels, RuleContext, WeakView


@dataclass(frozen=True)
class Fixed:
    """Keep the prediction where its probability reaches the threshold; stateless."""

    threshold: float
    temperature: float
    hard: bool

    def __call__(self, view: WeakView) -> PseudoLabels:
        confidence, classes = view.logits.softmax(dim=1).max(dim=1)  # (U,), (U,)
        targets = classes if self.hard else (view.logits / self.temperature).softmax(dim=1)
        return PseudoLabels(targets, (confidence >= self.threshold).float())

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        del state


def make(context: RuleContext) -> Fixed:
    return Fixed(context.threshold, context.temperature, context.hard)
