"""One training step of FixMatch (google-research/fixmatch, ablation/ab_fixmatch_ra.py) in numpy."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oracle.layers import Array
from oracle.wide_resnet import Arrays, WideResNet


@dataclass(frozen=True)
class Recipe:
    """The reference's numbers; it has a threshold of 0.95 and 2^20 steps."""

    steps: int
    threshold: float
    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 5e-4
    lambda_u: float = 1.0
    ema_decay: float = 0.999


@dataclass(frozen=True)
class Losses:
    """Of one step: the supervised and the unlabelled loss, the L2 penalty, mask bool (U,)."""

    labelled: float
    unlabelled: float
    penalty: float
    mask: NDArray[np.bool_]

    def total(self, recipe: Recipe) -> float:
        return self.labelled + recipe.lambda_u * self.unlabelled + self.penalty


def log_softmax(logits: Array) -> Array:
    shifted: Array = logits - logits.max(axis=1, keepdims=True)
    log_p: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p


def cross_entropy(logits: Array, labels: NDArray[np.int64]) -> tuple[Array, Array]:
    """(loss (N,) of each image, its gradient (N, classes) by that image's logits)."""
    log_p, rows = log_softmax(logits), np.arange(len(labels))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1
    return -log_p[rows, labels], gradient


@dataclass
class Trainer:
    """Weights, moving statistics, momentum and averaged weights, all float64."""

    network: WideResNet
    recipe: Recipe
    velocity: Arrays = field(init=False)
    average: Arrays = field(init=False)

    def __post_init__(self) -> None:
        self.velocity = {name: np.zeros_like(v) for name, v in self.network.weights.items()}
        self.average = {name: v.copy() for name, v in self.network.weights.items()}

    def step(
        self, number: int, images: Array, labels: NDArray[np.int64], weak: Array, strong: Array
    ) -> Losses:
        """Step `number`, counted from 0, on B labelled images and U twice augmented ones."""
        losses = self.gradients(images, labels, weak, strong)
        self._update(self.recipe.lr * math.cos(7 * math.pi * number / (16 * self.recipe.steps)))
        return losses

    def gradients(
        self, images: Array, labels: NDArray[np.int64], weak: Array, strong: Array
    ) -> Losses:
        """Fills the network's `gradients` with those of the whole loss, L2 penalty included."""
        b, u = len(images), len(weak)
        logits, backward = self.network.train(np.concatenate([images, weak, strong]))
        log_p = log_softmax(logits[b : b + u])
        mask = np.exp(log_p.max(axis=1)) >= self.recipe.threshold
        labelled, g_labelled = cross_entropy(logits[:b], labels)
        unlabelled, g_strong = cross_entropy(logits[b + u :], log_p.argmax(axis=1))

        # Pseudo-labels are constants: weak images get a gradient through batch norm alone.
        g_strong *= self.recipe.lambda_u * mask[:, None] / u
        backward(np.concatenate([g_labelled / b, np.zeros((u, logits.shape[1])), g_strong]))
        kernels = {k: v for k, v in self.network.weights.items() if k.endswith("kernel")}
        for name, kernel in kernels.items():
            self.network.gradients[name] += self.recipe.weight_decay * kernel
        penalty = self.recipe.weight_decay / 2 * sum(float((k**2).sum()) for k in kernels.values())
        return Losses(float(labelled.mean()), float((unlabelled * mask).mean()), penalty, mask)

    def _update(self, lr: float) -> None:
        """Nesterov momentum (tf.train.MomentumOptimizer), then the average of the new weights.

        The reference's graph leaves open which of the two comes first.
        """
        weights, m, decay = self.network.weights, self.recipe.momentum, self.recipe.ema_decay
        for name, g in self.network.gradients.items():
            self.velocity[name] = m * self.velocity[name] + g
            weights[name] = weights[name] - lr * (g + m * self.velocity[name])
            self.average[name] = decay * self.average[name] + (1 - decay) * weights[name]
