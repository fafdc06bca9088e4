"""The wide residual network of FixMatch's reference code, with its exact details."""

from torch import Tensor, nn
from torch.nn import functional as F

from fmsel.errors import DataError
from fmsel.training.networks.network import Network

SLOPE = 0.1  # of the leaky rectifier
EPSILON = 1e-3  # of batch norm, the default of tf.layers


class SameConv(nn.Conv2d):
    """A convolution with bias that pads as TensorFlow's SAME: (0, 1) on even sides at stride 2."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride)

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        side = input.shape[-1]
        total = max(kernel - stride if side % stride == 0 else kernel - side % stride, 0)
        before, after = total // 2, total - total // 2
        if before == after:
            return F.conv2d(input, self.weight, self.bias, stride, before)
        padded = F.pad(input, (before, after, before, after))
        return F.conv2d(padded, self.weight, self.bias, stride)


class Block(nn.Module):
    """Pre-activation residual block; the residual branch is always activated.

    Args:
        inputs, outputs: channels.
        stride: of the first convolution and of the shortcut.
        activate_before_residual: the shortcut too starts from the activated input.
        bn_momentum: weight of the newest batch in the running statistics.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        activate_before_residual: bool,
        bn_momentum: float,
    ) -> None:
        super().__init__()
        self.activate_before_residual = activate_before_residual
        self.norm1 = nn.BatchNorm2d(inputs, EPSILON, bn_momentum)
        self.conv1 = SameConv(inputs, outputs, 3, stride)
        self.norm2 = nn.BatchNorm2d(outputs, EPSILON, bn_momentum)
        self.conv2 = SameConv(outputs, outputs, 3)
        self.shortcut = SameConv(inputs, outputs, 1, stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        activated = F.leaky_relu(self.norm1(x), SLOPE)
        kept = activated if self.activate_before_residual else x
        branch: Tensor = self.conv1(activated)
        branch = self.conv2(F.leaky_relu(self.norm2(branch), SLOPE))
        shortcut: Tensor = kept if self.shortcut is None else self.shortcut(kept)
        return shortcut + branch


class WideResNet(Network):
    """WRN-28-k: three stages of four blocks (google-research/fixmatch, libml/models.py).

    At `width` 32 (k = 2) and 10 classes it has 1,469,642 parameters.

    Args:
        n_classes: C.
        image_side: H = W in pixels, at least 8.
        width: channels of the first stage, 16 k; the others have twice and four times as many.
        bn_momentum: weight of the newest batch in the running statistics; TensorFlow's 0.999.
    """

    def __init__(
        self, n_classes: int, image_side: int = 32, width: int = 32, bn_momentum: float = 0.001
    ) -> None:
        super().__init__()
        if image_side < 8:
            raise DataError(f"images of {image_side} pixels are too small; use at least 8")
        blocks: list[nn.Module] = []
        inputs = 16
        for stage, outputs in enumerate((width, 2 * width, 4 * width)):
            for block in range(4):
                stride = 2 if stage and not block else 1
                before = stage == 0 and block == 0
                blocks.append(Block(inputs, outputs, stride, before, bn_momentum))
                inputs = outputs
        self.stem = SameConv(3, 16, 3)
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(inputs, EPSILON, bn_momentum)
        self.head = nn.Linear(inputs, n_classes)
        self.apply(initialise)

    def penultimate(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float in [-1, 1] -> (B, 4 width), means in the dtype of the weights."""
        features = F.leaky_relu(self.norm(self.blocks(self.stem(images))), SLOPE)
        return features.to(self.head.weight.dtype).mean(dim=(2, 3))


def initialise(module: nn.Module) -> None:
    """He normal by fan-out for convolutions, Glorot normal for the head, zero biases."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
