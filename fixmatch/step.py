"""One training step, and all that it changes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fmsel.fixmatch.batches import Labelled, Unlabelled
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.loss import Losses, fixmatch_loss, supervised_loss
from fmsel.fixmatch.rules import PseudoLabels, Rule, WeakView
from fmsel.training.engine.device import Precision, autocast
from fmsel.training.engine.ema import Ema
from fmsel.training.engine.optim import set_lr, sgd
from fmsel.training.engine.schedule import cosine_7_16


class Learner:
    """A network in training: weights, momentum, average and pseudo-label rule.

    Args:
        model: on its device.
        rule: the pseudo-label rule.
        config: the recipe.
        precision: of the convolutions.
    """

    def __init__(
        self, model: nn.Module, rule: Rule, config: FixMatchConfig, precision: Precision
    ) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.rule, self.config, self.precision = rule, config, precision
        self.device = next(model.parameters()).device
        self.ema = Ema(self.model, config.ema_decay, config.ema_ramp)
        self.optimizer = sgd(
            self.model,
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )

    def step(
        self, step: int, labelled: Labelled, unlabelled: Unlabelled | None
    ) -> tuple[Losses, PseudoLabels | None]:
        """Learn from one batch; `unlabelled` None is supervised training.

        Weak views take part in the forward pass with gradients: they share batch norm's batch
        with the others, so gradients reach them through its mean and variance.
        """
        self.model.train()
        losses, pseudo = self._losses(labelled, unlabelled)
        set_lr(self.optimizer, cosine_7_16(step, self.config.steps, self.config.lr))
        self.optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.ema.update(self.model, step)
        return losses, pseudo

    def _losses(
        self, labelled: Labelled, unlabelled: Unlabelled | None
    ) -> tuple[Losses, PseudoLabels | None]:
        if unlabelled is None:
            return supervised_loss(self._logits(labelled.images), labelled.labels), None
        count, total = len(labelled.labels), len(unlabelled.index)
        images = torch.cat([labelled.images, unlabelled.weak, unlabelled.strong])
        logits, weak, strong = torch.split(self._logits(images), [count, total, total])
        with torch.no_grad():
            pseudo = self.rule(
                WeakView(
                    logits=weak.detach(), labelled_logits=logits.detach(), index=unlabelled.index
                )
            )
        lambda_u = self.config.lambda_u
        return fixmatch_loss(logits, labelled.labels, strong, pseudo, lambda_u), pseudo

    def _logits(self, images: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            logits: Tensor = self.model(images.contiguous(memory_format=torch.channels_last))
        return logits.float()

    def state_dict(self) -> dict[str, Any]:
        """All that later steps depend on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": dict(self.ema.average),
            "rule": self.rule.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load(state["ema"])
        self.rule.load_state_dict(state["rule"])
