"""WRN-28-k of google-research/fixmatch (libml/models.py, ResNet), forward and backward in numpy."""

from collections.abc import Callable

import numpy as np

from oracle.layers import EPSILON, PIXELS, Array, conv, leaky_relu, standardise

Arrays = dict[str, Array]
Backward = Callable[[Array], Array]  # gradient of the loss by the output -> by the input

STEM = 16  # channels, whatever the width
STAGES = 3
BLOCKS = 4  # a stage
DECAY = 0.999  # of the moving mean and variance


def parameter_shapes(filters: int, n_classes: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every trained variable; `filters` is 16 k (32 in WRN-28-2)."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv_of(name: str, side: int, before: int, after: int) -> None:
        shapes[f"{name}.kernel"], shapes[f"{name}.bias"] = (side, side, before, after), (after,)

    def norm_of(name: str, channels: int) -> None:
        shapes[f"{name}.gamma"] = shapes[f"{name}.beta"] = (channels,)

    conv_of("stem", 3, 3, STEM)
    before = STEM
    for stage in range(STAGES):
        after = filters << stage
        for block in range(BLOCKS):
            name = f"{stage}.{block}"
            norm_of(f"{name}.norm1", before)
            conv_of(f"{name}.conv1", 3, before, after)
            norm_of(f"{name}.norm2", after)
            conv_of(f"{name}.conv2", 3, after, after)
            if before != after:
                conv_of(f"{name}.shortcut", 1, before, after)
            before = after
    norm_of("norm", before)
    shapes["dense.kernel"], shapes["dense.bias"] = (before, n_classes), (n_classes,)
    return shapes


class WideResNet:
    """The network.

    weights: trained variables, named as in `parameter_shapes`.
    moving: `<norm>.mean` and `<norm>.variance` of every batch norm, updated by each `train`.
    gradients: of the last backward pass, named like the weights.
    """

    def __init__(self, weights: Arrays, moving: Arrays) -> None:
        self.weights, self.moving = weights, moving
        self.gradients: Arrays = {}
        self.training = False

    def train(self, images: Array) -> tuple[Array, Callable[[Array], None]]:
        """(logits (N, classes), backward pass that fills `gradients`); all N are one BN batch."""
        self.training = True
        return self._forward(images)

    def predict(self, images: Array) -> Array:
        """Logits (N, classes) by the moving statistics."""
        self.training = False
        return self._forward(images)[0]

    def _forward(self, images: Array) -> tuple[Array, Callable[[Array], None]]:
        x, back = self._conv("stem", images, 1)
        path = [back]
        for stage in range(STAGES):
            for block in range(BLOCKS):
                x, back = self._block(stage, block, x)
                path.append(back)
        x, back = self._activate("norm", x)
        path.append(back)
        pooled = x.mean(axis=(1, 2))

        def backward(g: Array) -> None:
            self.gradients["dense.kernel"] = pooled.T @ g
            self.gradients["dense.bias"] = g.sum(axis=0)
            g_pooled = g @ self.weights["dense.kernel"].T
            g = np.broadcast_to(g_pooled[:, None, None], x.shape) / (x.shape[1] * x.shape[2])
            for back in reversed(path):
                g = back(g)

        return pooled @ self.weights["dense.kernel"] + self.weights["dense.bias"], backward

    def _block(self, stage: int, block: int, x: Array) -> tuple[Array, Backward]:
        name = f"{stage}.{block}"
        activated, back_activated = self._activate(f"{name}.norm1", x)
        stride = 2 if stage > 0 and block == 0 else 1
        y, back_conv1 = self._conv(f"{name}.conv1", activated, stride)
        y, back_norm2 = self._activate(f"{name}.norm2", y)
        y, back_conv2 = self._conv(f"{name}.conv2", y, 1)

        # activate_before_residual: only the very first block's shortcut starts behind norm1.
        first = stage == 0 and block == 0
        source = activated if first else x
        if f"{name}.shortcut.kernel" in self.weights:
            short, back_short = self._conv(f"{name}.shortcut", source, stride)
        else:
            short, back_short = source, lambda g: g

        def backward(g: Array) -> Array:
            g_activated, g_source = back_conv1(back_norm2(back_conv2(g))), back_short(g)
            if first:
                return back_activated(g_activated + g_source)
            return back_activated(g_activated) + g_source

        return short + y, backward

    def _conv(self, name: str, x: Array, stride: int) -> tuple[Array, Backward]:
        y, back = conv(x, self.weights[f"{name}.kernel"], self.weights[f"{name}.bias"], stride)

        def backward(g: Array) -> Array:
            g_x, self.gradients[f"{name}.kernel"], self.gradients[f"{name}.bias"] = back(g)
            return g_x

        return y, backward

    def _activate(self, name: str, x: Array) -> tuple[Array, Backward]:
        """Batch norm, then leaky ReLU."""
        gamma, beta = self.weights[f"{name}.gamma"], self.weights[f"{name}.beta"]
        if self.training:
            normal, mean, variance, back_normal = standardise(x)
            self._move(name, mean, variance, x.size // x.shape[-1])
        else:
            scale = 1 / np.sqrt(self.moving[f"{name}.variance"] + EPSILON)
            normal, back_normal = (x - self.moving[f"{name}.mean"]) * scale, lambda g: g * scale
        y, back_relu = leaky_relu(gamma * normal + beta)

        def backward(g: Array) -> Array:
            g = back_relu(g)
            self.gradients[f"{name}.gamma"] = (g * normal).sum(axis=PIXELS)
            self.gradients[f"{name}.beta"] = g.sum(axis=PIXELS)
            return back_normal(g * gamma)

        return y, backward

    def _move(self, name: str, mean: Array, variance: Array, n: int) -> None:
        """Moves the statistics, as TF's fused batch norm does.

        It normalises by the biased variance and keeps the unbiased one (fused_batch_norm_op.cc,
        "This adjustment is for Bessel's correction"); tf.layers.batch_normalization is fused for
        images. torch does the same.
        """
        for key, value in ((f"{name}.mean", mean), (f"{name}.variance", variance * n / (n - 1))):
            self.moving[key] = DECAY * self.moving[key] + (1 - DECAY) * value
