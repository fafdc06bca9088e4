"""The class prior that a rule aligns with, or does not."""

import torch
from torch import Tensor

from fmsel.errors import OptionError
from fmsel.fixmatch.rules import RuleContext


def refuse_prior(rule: str, context: RuleContext) -> None:
    """Raises OptionError if a prior is given to a rule that has no use for one."""
    if context.prior is not None:
        raise OptionError(
            f"rule {rule!r} aligns with no class prior; leave the prior out, "
            "or use a rule that aligns, such as distribution_alignment"
        )


def prior_or_uniform(context: RuleContext) -> Tensor:
    """(C,) float32 on the device: the given class shares, or equal ones in new memory."""
    if context.prior is not None:
        return context.prior.to(context.device, torch.float32)
    return torch.full((context.n_classes,), 1 / context.n_classes, device=context.device)
