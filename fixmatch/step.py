"""One training step, and all that it changes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fmsel.fixmatch.batches import Labelled, Unlabelled
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.loss import Losses, fixmatch_loss, supervised_loss
from fmsel.fixmatch.rules import PseudoLabels, Rule, WeakView
from fmsel.training.augment.strong import LearnedAugment
from fmsel.training.engine.device import Precision, autocast
from fmsel.training.engine.ema import Ema
from fmsel.training.engine.optim import adam, set_lr, sgd


class Learner:
    """A network in training: weights, momentum, average and pseudo-label rule.

    Args:
        model: on its device.
        rule: the pseudo-label rule.
        config: the recipe.
        precision: of the convolutions.
        learned: the strong augmentation, if it learns from probes.

    Attributes:
        past_losses: labelled training loss of each evaluation so far; what plateau goes by.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: Rule,
        config: FixMatchConfig,
        precision: Precision,
        learned: LearnedAugment | None = None,
    ) -> None:
        self.learned = learned
        self.model = model.to(memory_format=torch.channels_last)
        self.rule, self.config, self.precision = rule, config, precision
        self.device = next(model.parameters()).device
        self.ema = Ema(self.model, config.ema_decay, config.ema_ramp)
        self.optimizer = make_optimizer(self.model, config)
        self.schedule = config.learning_rate
        self.past_losses: list[float] = []

    def step(
        self, step: int, labelled: Labelled, unlabelled: Unlabelled | None
    ) -> tuple[Losses, PseudoLabels | None]:
        """Learn from one batch; `unlabelled` None is supervised training.

        Weak views take part in the forward pass with gradients: they share batch norm's batch
        with the others, so gradients reach them through its mean and variance.
        """
        if self.learned is not None and labelled.probe is not None:
            probabilities = self.averaged_softmax(labelled.probe.images)
            self.learned.learn(labelled.probe, probabilities, labelled.labels)
        self.model.train()
        losses, pseudo = self._losses(labelled, unlabelled)
        set_lr(self.optimizer, self.schedule(step, self.past_losses))
        self.optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.ema.update(self.model, step)
        return losses, pseudo

    @torch.no_grad()
    def averaged_softmax(self, images: Tensor) -> Tensor:
        """(B, C) float32, of the averaged weights with the live batch norm statistics."""
        self.model.eval()
        with autocast(self.device, self.precision):
            logits = self.ema.forward(
                self.model, images.contiguous(memory_format=torch.channels_last)
            )
        return logits.softmax(dim=1)

    def _losses(
        self, labelled: Labelled, unlabelled: Unlabelled | None
    ) -> tuple[Losses, PseudoLabels | None]:
        if unlabelled is None:
            return supervised_loss(self._logits(labelled.images), labelled.labels), None
        count, total = len(labelled.labels), len(unlabelled.index)
        images = torch.cat([labelled.images, unlabelled.weak, unlabelled.strong])
        if self.config.interleave:
            order = interleaved(count, self.config.mu, images.device)
            outputs = self._logits(images[order])[order.argsort()]
        else:
            outputs = self._logits(images)
        logits, weak, strong = torch.split(outputs, [count, total, total])
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
        return logits

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


def make_optimizer(model: nn.Module, config: FixMatchConfig) -> torch.optim.Optimizer:
    """The configured optimiser."""
    decay: Any = {"weight_decay": config.weight_decay, "decay_all": config.decay_all}
    if config.optimizer == "adam":
        return adam(model, lr=config.lr, **decay)
    return sgd(model, lr=config.lr, momentum=config.momentum, **decay)


def interleaved(batch: int, mu: int, device: torch.device) -> Tensor:
    """(B (1 + 2 mu),) int64: an order in which every stretch of 1 + 2 mu images has one labelled.

    The reference code interleaves so that each of several GPUs, with batch norm of its own, sees
    the same mix. Within one batch norm it changes nothing but the rounding of sums.
    """
    parts = 1 + 2 * mu
    return torch.arange(batch * parts, device=device).view(parts, batch).T.flatten()
