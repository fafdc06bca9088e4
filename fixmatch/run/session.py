"""`Session`: one run in memory; advance, evaluate, save, restore."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fmsel.datasets import WeakAugment
from fmsel.errors import FmselError, OptionError
from fmsel.fixmatch.batches import (
    Labelled,
    LabelledBatches,
    Unlabelled,
    UnlabelledBatches,
    packed,
    unpacked,
)
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.rules import RuleContext, make_rule
from fmsel.fixmatch.run.ahead import Ahead
from fmsel.fixmatch.run.evaluate import evaluate, predicted
from fmsel.fixmatch.run.history import no_history, with_row
from fmsel.fixmatch.run.inputs import Inputs, class_prior
from fmsel.fixmatch.run.meters import Meters
from fmsel.fixmatch.run.record import reported_accuracy
from fmsel.fixmatch.step import Learner
from fmsel.training.augment.strong import LearnedAugment, make_strong
from fmsel.training.engine.capture import Captured
from fmsel.training.engine.device import Execution, Precision
from fmsel.training.engine.distributed import ALONE, World, with_global_batch_norm
from fmsel.training.engine.memory import check_fits
from fmsel.training.networks.build import build_network

# Of the weights on the device: themselves, gradients, average, and what the optimiser remembers.
COPIES = {"sgd": 4, "adam": 5}


class Session:
    """A run between its steps.

    Args:
        inputs: tensors on the device.
        weak: the data set's weak augmentation.
        config: the recipe.
        seed: the training seed.
        supervised_only: leave out the unlabelled images and their loss.
        precision: of the convolutions.
        execution: how a step is run.
        world: the processes that share each step.
        start: a state dict to start from in place of a fresh initialisation.
        keep_history: keep what the averaged network predicts of `inputs.images`.
    Raises:
        OptionError: a batch that the processes cannot share evenly, or a class prior as
            `class_prior`.

    Attributes:
        step: steps done.
        rows: one dict an evaluation, the lines of metrics.jsonl.
        seconds: spent in training and evaluation, over all sittings.
        history: (E, N) classes at the last evaluations, as `with_row`; None = not kept.
        confusion: (C, C) int64 of the last evaluation, as `Evaluation.confusion`; None without a
            labelled test part, and where an older fmsel wrote the last checkpoint.
    """

    def __init__(
        self,
        inputs: Inputs,
        weak: WeakAugment,
        config: FixMatchConfig,
        *,
        seed: int,
        supervised_only: bool,
        precision: Precision,
        execution: Execution = "eager",
        world: World = ALONE,
        start: Mapping[str, Tensor] | None = None,
        keep_history: bool = False,
    ) -> None:
        if config.batch % world.size:
            raise OptionError(
                f"batch={config.batch} cannot be shared evenly by {world.size} processes; "
                f"use a multiple of {world.size}"
            )
        images, device = inputs.images, inputs.images.device
        self.inputs, self.config, self.supervised = inputs, config, supervised_only
        self.world = world
        build = partial(
            build_network,
            config.arch,
            n_classes=inputs.n_classes,
            image_side=images.shape[-1],
            bn_momentum=config.bn_momentum,
            seed=seed,
        )
        copies, learned_from = 1, 0  # on a GPU this machine holds the weights for a moment
        if device.type == "cpu":
            copies = COPIES[config.optimizer]
            learned_from = self.images_per_step // world.size
            if not config.weak_gradient and not supervised_only:
                learned_from = learned_from * (1 + config.mu) // (1 + 2 * config.mu)
        with torch.device("meta"):
            shadow = build()
        check_fits(
            shadow,
            copies=copies,
            images=learned_from,
            side=images.shape[-1],
            precision=precision,
        )
        model: nn.Module = build()
        if start is not None:
            model.load_state_dict(start)
        prior = class_prior(config.prior, inputs.labels, inputs.n_classes)
        context = RuleContext(
            threshold=config.threshold,
            temperature=config.temperature,
            hard=config.hard,
            prior=None if prior is None else torch.from_numpy(prior).to(device),
            n_classes=inputs.n_classes,
            n_unlabelled=len(images),
            device=device,
        )
        rule = make_rule(config.rule, context)
        chosen = images[inputs.chosen]
        self.strong = make_strong(config.augment, images.shape[-1], device)
        learned = self.strong if isinstance(self.strong, LearnedAugment) else None
        self.labelled = LabelledBatches(
            chosen,
            inputs.labels,
            config.batch,
            weak,
            seed,
            learned=None if supervised_only else learned,
        )
        self.unlabelled = (
            None
            if supervised_only
            else UnlabelledBatches(images, config.mu * config.batch, weak, self.strong, seed)
        )
        self._like = [torch.empty_like(each, device="meta") for each in self.draws(0)]
        self._labelled_draws = len(self.labelled.draw(0))
        model = model.to(device)
        if world.size > 1:
            model = with_global_batch_norm(model)
        self.learner = Learner(model, rule, config, precision, learned, world)
        if execution == "compile":
            self.learner.compile()
        elif execution == "fused":
            self.learner.fuse()
        self.captured: Captured | None = None
        self.ahead: Ahead | None = None
        if execution != "eager" and device.type == "cuda":
            self.captured, self.ahead = Captured(device), Ahead(device)
        self.meters = Meters(inputs.truth, inputs.n_classes, self.learner.guard.frozen)
        self.step = 0
        self.rows: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.history: Tensor | None = None
        if keep_history:
            self.history = no_history(len(images), inputs.n_classes, device)
        self.confusion: Tensor | None = None
        self._started = time.perf_counter()

    @property
    def done(self) -> bool:
        return self.step == self.config.steps

    @property
    def images_per_step(self) -> int:
        """Images that pass the network at each step."""
        config = self.config
        return config.batch * (1 if self.supervised else 1 + 2 * config.mu)

    def advance(self) -> None:
        """One training step."""
        self.learner.prepare(self.step)
        if self.captured is None:
            self.learn(self.draws_on_device(self.step))
        elif self.ahead is None:
            self.captured(self.learn, self.draws_on_device(self.step))
        else:
            self.ahead.expect(self.step, self.draws_on_device, self.batch)
            self.captured(self.learn_and_make, self.draws_on_device(self.step + 1))
            self.ahead.step += 1
        self.step += 1

    def draws_on_device(self, step: int) -> Tensor:
        """The draws of step 0, 1, …, packed; never waits for a GPU."""
        flat, device = packed(self.draws(step)), self.inputs.images.device
        if device.type != "cuda":
            return flat.to(device)
        return flat.pin_memory().to(device, non_blocking=True)  # pageable memory would wait

    def batch(self, flat: Tensor) -> tuple[Labelled, Unlabelled | None]:
        """The images of packed draws: work for the device alone."""
        draws = unpacked(flat, self._like)
        labelled = self.labelled.make(draws[: self._labelled_draws])
        if self.unlabelled is None:
            return labelled, None
        return labelled, self.unlabelled.make(draws[self._labelled_draws :])

    def draws(self, step: int) -> list[Tensor]:
        """All the chance in step 0, 1, …, on the CPU; its shapes are the same at every step."""
        unlabelled = [] if self.unlabelled is None else self.unlabelled.draw(step)
        return [*self.labelled.draw(step), *unlabelled]

    def learn(self, flat: Tensor) -> None:
        """Make the batch of packed draws and learn from it: work for the device alone."""
        labelled, unlabelled = self.batch(flat)
        self.learner.heed_probe(labelled)
        self._learn_from(labelled, unlabelled)

    def learn_and_make(self, flat: Tensor) -> None:
        """Learn from the batch that waits, and beside it make the next of these draws."""
        assert self.ahead is not None
        self.ahead.beside(flat, self.learner.heed_probe, self.batch, self._learn_from)

    def _learn_from(self, labelled: Labelled, unlabelled: Unlabelled | None) -> None:
        losses, pseudo = self.learner.update_network(labelled, unlabelled)
        self.meters.add(losses, pseudo, unlabelled.index if unlabelled is not None else None)

    @property
    def evaluation_due(self) -> bool:
        """Whether this step is to be evaluated and was not yet."""
        due = self.step > 0 and (self.step % self.config.eval_every == 0 or self.done)
        return due and not (self.rows and self.rows[-1]["step"] == self.step)

    def evaluate(self, stopped: Callable[[], bool]) -> bool:
        """Append a row; False, with nothing changed, if `stopped` turned true on the way.

        Raises:
            FmselError: the loss is no longer finite.
        """
        self.check_finite()
        tested = len(self.inputs.test_labels) > 0
        found = None
        if tested:
            inputs = self.inputs
            found = evaluate(
                self.learner, inputs.test_images, inputs.test_labels, inputs.n_classes, stopped
            )
            if found is None:
                return False
        if self.history is not None:
            classes = predicted(self.learner, self.inputs.images, stopped)
            if classes is None:
                return False
            self.history = with_row(self.history, classes)
        if found is not None:
            self.confusion = found.confusion
        means = self.meters.read(self.supervised)
        now = self.clock()
        before = self.rows[-1] if self.rows else {"seconds": 0.0}
        rate = means.steps / max(now - before["seconds"], 1e-9)
        self.learner.past_losses.append(means.loss_labelled)  # the rate of the next step heeds it
        self.rows.append(
            {
                "step": self.step,
                "ema_accuracy": found.ema_accuracy if found else None,
                "accuracy": found.accuracy if found else None,
                "ema_loss": found.ema_loss if found else None,
                "accuracy_labelled": means.accuracy_labelled,
                "loss": means.loss,
                "loss_labelled": means.loss_labelled,
                "loss_unlabelled": means.loss_unlabelled,
                "mask_rate": means.mask_rate,
                "pseudo_label_accuracy": means.pseudo_label_accuracy,
                "largest_class_share": means.largest_class_share,
                "lr": self.learner.schedule(
                    min(self.step, self.config.steps - 1), self.learner.past_losses
                ),
                "images_per_s": rate * self.images_per_step,
                "it_per_s": rate,
                "seconds": now,
            }
        )
        self.meters.reset()
        return True

    def check_finite(self) -> None:
        """Waits for the device; raises FmselError if the guard has frozen the learner."""
        if first := int(self.learner.guard.first_bad):
            raise FmselError(
                "the loss, a gradient or a statistic of batch norm became nan or infinite at step "
                f"{first:,} of {self.config.steps:,}; train again with --force and a smaller --lr "
                f"than {self.config.lr}, or with milder settings"
            )

    def clock(self) -> float:
        """`seconds`, brought up to now."""
        now = time.perf_counter()
        self.seconds += now - self._started
        self._started = now
        return self.seconds

    def save(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(tensors, state) for a checkpoint."""
        tensors: dict[str, Any] = {
            "learner": self.learner.state_dict(),
            "strong": self.strong.state_dict(),
            "meters": self.meters.sums,
        }
        if self.history is not None:
            tensors["history"] = self.history
        if self.confusion is not None:
            tensors["confusion"] = self.confusion
        return tensors, {"step": self.step, "rows": self.rows, "seconds": self.clock()}

    def restore(self, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """The inverse of `save`."""
        self.learner.load_state_dict(tensors["learner"])
        self.strong.load_state_dict(tensors["strong"])
        self.meters.load(tensors["meters"])
        if self.history is not None:
            self.history = tensors["history"]
        self.confusion = tensors.get("confusion")
        self.step, self.rows, self.seconds = state["step"], list(state["rows"]), state["seconds"]
        self.learner.past_losses = [row["loss_labelled"] for row in self.rows]

    def summary(self) -> dict[str, Any]:
        """What summary.json holds, at the end of the run."""
        seconds = self.clock()
        summary: dict[str, Any] = {"accuracy": None, "accuracy_of": 0, "final_ema_accuracy": None}
        if len(self.inputs.test_labels):
            curve = [row["ema_accuracy"] for row in self.rows]
            accuracy, count = reported_accuracy(curve)
            summary = {
                "accuracy": accuracy,
                "accuracy_of": count,
                "final_ema_accuracy": curve[-1],
                "confusion": None if self.confusion is None else self.confusion.tolist(),
            }
        rate = self.step / seconds
        return {
            **summary,
            "steps": self.step,
            "seconds": seconds,
            "it_per_s": rate,
            "completed": True,
        }
