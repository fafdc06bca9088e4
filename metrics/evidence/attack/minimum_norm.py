"""A minimum-norm attack that works in L2 and in Linf, and in both directions.

FMN (Pintor, Roli, Brendel and Biggio 2021, arXiv 2102.12827, algorithm 1), which generalises DDN
(Rony et al. 2019, arXiv 1811.09600) from L2 to other norms: step along the normalised gradient of
the margin, project on a ball, make the ball smaller beyond the border and larger before it. Three
things are ours, so that 20 iterations do for images of any size: the ball always gets the radius at
which the gradient sees the border (the paper does so until the first crossing, then goes on by
fixed factors), the step is a share of that radius, and pixels that the box blocks do not count.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["L2", "Linf"]
PIXELS = (1, 2, 3)  # the dimensions of one image
STEP = (1.0, 0.01)  # of the ball's L2 circumradius, at the start and in the end (paper: 1 to 0.01)
OVERSHOOT = 0.02  # beyond the border, at the start, as in DeepFool (arXiv 1511.04599)
TINY = 1e-12  # keeps a gradient of zeros from dividing by zero


def signed_distance(
    logits: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    norm: Norm,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """Distance of each image to the border of its label's region, by the smallest change found.

    Args:
        logits: (B, 3, H, W) in [0, 1] -> (B, C), C >= 2, differentiable, each image by itself.
        images: (B, 3, H, W) float32 in [0, 1]; changed images stay in that box.
        labels: (B,) int64 in [0, C).
        norm: of the change, all pixels and channels together.
        iterations: forward and backward passes.
    Returns:
        (B,) float32 in units of the [0, 1] range: plus the change that makes another class the top
        one where the label is the top one, minus the change that makes the label the top one where
        it is not. (B,) bool: no such change was found, and the distance is the last guess of it, at
        most that of the farthest corner of the box.
    """
    with torch.no_grad():
        side = torch.where(margin(logits(images), labels) > 0, 1.0, -1.0)
    farthest = length(torch.maximum(images, 1 - images), norm)
    best = torch.full_like(farthest, math.inf)
    radius, change = farthest, torch.zeros_like(images)
    for i in range(iterations):
        loss, gradient = _loss(logits, images + change, labels, side)
        size, crossed, pace = length(change, norm), loss < 0, _annealed(i / iterations)
        best = torch.where(crossed, torch.minimum(best, size), best)
        guess = size + loss / dual_length(gradient, norm).clamp_min(TINY)
        guess = torch.where(crossed, guess, guess * (1 + OVERSHOOT * pace))
        # Far beyond the border the gradient says little of it: at most half of the way back.
        radius = torch.maximum(guess, size / 2).minimum(best).minimum(farthest)
        step = pace * _circumradius(radius, images[0].numel(), norm)
        factor = -step / length(gradient, "L2").clamp_min(TINY)
        change = project(torch.addcmul(change, _per_image(factor), gradient), radius, norm)
        change = (images + change).clamp(0, 1) - images
    failed = best.isinf()
    return side * torch.where(failed, radius, best), failed


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, C) logits -> (B,) that of the label minus the highest of the others."""
    own = labels[:, None]
    others = logits.scatter(1, own, -math.inf)
    return logits.gather(1, own)[:, 0] - others.amax(dim=1)


def length(change: Tensor, norm: Norm) -> Tensor:
    """(B, 3, H, W) -> (B,) norm of each."""
    found: Tensor = torch.linalg.vector_norm(change, 2 if norm == "L2" else math.inf, dim=PIXELS)
    return found


def dual_length(gradient: Tensor, norm: Norm) -> Tensor:
    """(B, 3, H, W) -> (B,) the most that a change of norm 1 gains, to first order."""
    found: Tensor = torch.linalg.vector_norm(gradient, 2 if norm == "L2" else 1, dim=PIXELS)
    return found


def project(change: Tensor, radius: Tensor, norm: Norm) -> Tensor:
    """The nearest point, in L2, of the ball of (B,) `radius`; (B, 3, H, W)."""
    if norm == "Linf":
        limit = _per_image(radius)
        return torch.minimum(torch.maximum(change, -limit), limit)
    share = radius / length(change, norm).clamp_min(TINY)
    return change * _per_image(share.clamp(max=1))


def _loss(
    logits: Callable[[Tensor], Tensor], points: Tensor, labels: Tensor, side: Tensor
) -> tuple[Tensor, Tensor]:
    """(B,) loss, negative beyond the border, and its gradient, (B, 3, H, W)."""
    points = points.detach().requires_grad_()
    loss = side * margin(logits(points), labels)
    (gradient,) = torch.autograd.grad(loss.sum(), points)
    blocked = ((points <= 0) & (gradient > 0)) | ((points >= 1) & (gradient < 0))
    return loss.detach(), gradient.masked_fill(blocked, 0)


def _annealed(progress: float) -> float:
    start, end = STEP
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _circumradius(radius: Tensor, dimensions: int, norm: Norm) -> Tensor:
    return radius if norm == "L2" else radius * math.sqrt(dimensions)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]
