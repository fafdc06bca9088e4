"""One training step, and all that it changes."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fmsel.fixmatch.batches import Labelled, Unlabelled
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.loss import Losses, fixmatch_loss, supervised_loss
from fmsel.fixmatch.rules import PseudoLabels, Rule, WeakView
from fmsel.training.augment.strong import LearnedAugment
from fmsel.training.engine.device import Precision, autocast
from fmsel.training.engine.distributed import ALONE, World
from fmsel.training.engine.ema import Ema
from fmsel.training.engine.guard import Guard
from fmsel.training.engine.optim import adam, set_lr, sgd


class Learner:
    """A network in training: weights, momentum, average and pseudo-label rule.

    Args:
        model: on its device.
        rule: the pseudo-label rule.
        config: the recipe.
        precision: of the convolutions.
        learned: the strong augmentation, if it learns from probes.
        world: the processes that share each step; all of them are given the whole batch.

    Attributes:
        part_done: called with the name of each part of a step when it is issued; for timing.
        past_losses: labelled training loss of each evaluation so far; what plateau goes by.
    """

    def __init__(
        self,
        model: nn.Module,
        rule: Rule,
        config: FixMatchConfig,
        precision: Precision,
        learned: LearnedAugment | None = None,
        world: World = ALONE,
    ) -> None:
        self.learned, self.world = learned, world
        self.model = model.to(memory_format=torch.channels_last)
        self.rule, self.config, self.precision = rule, config, precision
        weight = next(model.parameters())
        self.device = weight.device
        self.ema = Ema(self.model, config.ema_decay, config.ema_ramp)
        self.guard = Guard(self.device)
        self.optimizer = make_optimizer(self.model, config)
        self.optimizer.found_inf = self.guard.frozen  # type: ignore[attr-defined]
        learned_state = learned.state_dict() if learned is not None else {}
        self.changed_on_the_way = [
            *self.model.buffers(),
            *rule.state_dict().values(),
            *learned_state.values(),
        ]
        self.statistics = [each for each in self.model.buffers() if each.is_floating_point()]
        self.schedule = config.learning_rate
        self.decay = torch.tensor(config.ema_decay, dtype=weight.dtype, device=self.device)
        self.forward: Callable[[Tensor], Tensor] = self.model
        self.past_losses: list[float] = []
        self.part_done: Callable[[str], None] = lambda part: None

    def compile(self) -> None:
        """Fuse what the network does between its convolutions; takes a minute at the first step."""
        self.forward = torch.compile(self.model)

    def fuse(self) -> None:
        """Take fewer passes over what lies between convolutions; for a wide residual network."""
        from fmsel.training.networks.fused import fused  # needs triton

        self.forward = fused(self.model)

    def step(
        self, step: int, labelled: Labelled, unlabelled: Unlabelled | None
    ) -> tuple[Losses, PseudoLabels | None]:
        """Learn from one batch; `unlabelled` None is supervised training."""
        self.prepare(step)
        return self.update(labelled, unlabelled)

    def prepare(self, step: int) -> None:
        """Put the numbers that change with the step where `update` reads them."""
        self.guard.begin(step)
        set_lr(self.optimizer, self.schedule(step, self.past_losses))
        self.decay.fill_(self.ema.decay_at(step))

    def update(
        self, labelled: Labelled, unlabelled: Unlabelled | None
    ) -> tuple[Losses, PseudoLabels | None]:
        """Learn from one batch as prepared: work for the device alone, which may be captured.

        Weak views take part in the forward pass with gradients: they share batch norm's batch
        with the others, so gradients reach them through its mean and variance. From the first
        step with a number that is not finite nothing changes any more; see `Guard`.
        """
        self.heed_probe(labelled)
        return self.update_network(labelled, unlabelled)

    def heed_probe(self, labelled: Labelled) -> None:
        """The first part of `update`, after which the next step's batch may be made."""
        self.guard.keep(self.changed_on_the_way)
        if self.learned is not None and labelled.probe is not None:
            probe = self.world.share(labelled.probe.images)
            probabilities = self.world.whole(self.averaged_softmax(probe))
            self.learned.learn(labelled.probe, probabilities, labelled.labels)

    def update_network(
        self, labelled: Labelled, unlabelled: Unlabelled | None
    ) -> tuple[Losses, PseudoLabels | None]:
        """The second part of `update`."""
        self.model.train()
        losses, pseudo = self._losses(labelled, unlabelled)
        self.part_done("forward")
        self.optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.world.add_up(gradients)
        self.guard.judge(losses.total.detach(), [*gradients, *self.statistics])
        self.part_done("backward")
        self.optimizer.step()
        self.part_done("update")
        self.ema.update(self.model, self.guard.held(self.decay, 1.0))
        self.guard.put_back(self.changed_on_the_way)
        self.part_done("ema")
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
        share, whole = self.world.share, self.world.whole
        if unlabelled is None:
            logits = whole(self._logits(share(labelled.images)))
            return supervised_loss(logits, labelled.labels), None
        if self.config.weak_gradient:
            logits, weak, strong = self._outputs(
                labelled.images, unlabelled.weak, unlabelled.strong
            )
        else:
            with torch.no_grad():
                [weak] = self._outputs(unlabelled.weak)
            logits, strong = self._outputs(labelled.images, unlabelled.strong)
        with torch.no_grad():
            pseudo = self.rule(
                WeakView(
                    logits=weak.detach(), labelled_logits=logits.detach(), index=unlabelled.index
                )
            )
        lambda_u = self.config.lambda_u
        return fixmatch_loss(logits, labelled.labels, strong, pseudo, lambda_u), pseudo

    def _outputs(self, *parts: Tensor) -> list[Tensor]:
        """The logits of each part of one batch, all in one batch norm."""
        shares = [self.world.share(part) for part in parts]
        images, counts = torch.cat(shares), [len(part) for part in shares]
        if self.config.interleave:
            order = interleaved(counts[0], len(images) // counts[0], images.device)
            outputs = self._logits(images[order])[order.argsort()]
        else:
            outputs = self._logits(images)
        return [self.world.whole(each) for each in torch.split(outputs, counts)]

    def _logits(self, images: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            logits: Tensor = self.forward(images.contiguous(memory_format=torch.channels_last))
        return logits

    def state_dict(self) -> dict[str, Any]:
        """All that later steps depend on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "ema": dict(self.ema.average),
            "rule": self.rule.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.model.load_state_dict(state["model"])
        groups = self.optimizer.state_dict()["param_groups"]  # the configuration's, not the file's
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
        self.ema.load(state["ema"])
        self.rule.load_state_dict(state["rule"])


def make_optimizer(model: nn.Module, config: FixMatchConfig) -> torch.optim.Optimizer:
    """The configured optimiser."""
    shared: Any = {
        "lr": config.lr,
        "weight_decay": config.weight_decay,
        "decay_all": config.decay_all,
        "fused": True,
    }
    if config.optimizer == "adam":
        return adam(model, **shared)
    return sgd(model, momentum=config.momentum, **shared)


def interleaved(batch: int, parts: int, device: torch.device) -> Tensor:
    """(B parts,) int64: an order in which every stretch of `parts` images has one labelled.

    The reference code interleaves so that each of several GPUs, with batch norm of its own, sees
    the same mix. Within one batch norm it changes nothing but the rounding of sums.
    """
    return torch.arange(batch * parts, device=device).view(parts, batch).T.flatten()
