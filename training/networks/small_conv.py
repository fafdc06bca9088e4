"""A small convolutional network that 2 CPU cores can train on 50,000 images in half a minute."""

import torch.nn.functional as F
from torch import Tensor, nn

from fmsel.errors import DataError
from fmsel.training.networks.network import Network


class GlobalMaxPool(nn.Module):
    """(B, C, H, W) -> (B, C, 1, 1). Unlike AdaptiveMaxPool2d(1), deterministic on a GPU."""

    def forward(self, features: Tensor) -> Tensor:
        """The maximum over all positions; of equal ones the first gets the gradient."""
        return F.max_pool2d(features, features.shape[-2:])


class SmallConv(Network):
    """Patch stem, then 3x3 convolutions with batch norm; global max pooling; a linear head.

    The stem is a 4x4 convolution of stride 2 on images of 16 pixels and more, so that the costly
    convolutions run on a quarter of the positions; on smaller images it keeps their size.

    Args:
        n_classes: C.
        image_side: H = W in pixels.
        width: channels of the first stage; the others have twice and four times as many.
        bn_momentum: weight of the newest batch in the running statistics (torch convention).
    """

    def __init__(
        self, n_classes: int, image_side: int = 32, width: int = 64, bn_momentum: float = 0.1
    ) -> None:
        super().__init__()
        if image_side < 8:
            raise DataError(f"images of {image_side} pixels are too small; use at least 8")
        kernel, stride, padding = (4, 2, 1) if image_side >= 16 else (1, 1, 0)
        a, b, c = width, 2 * width, 4 * width

        def block(inputs: int, outputs: int, pool: bool) -> list[nn.Module]:
            # Pooling first leaves batch norm and activation a quarter of the positions.
            return [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                *([nn.MaxPool2d(2)] if pool else []),
                nn.BatchNorm2d(outputs, momentum=bn_momentum),
                nn.ReLU(inplace=True),
            ]

        self.features = nn.Sequential(
            nn.Conv2d(3, a, kernel, stride, padding),
            nn.ReLU(inplace=True),
            *block(a, b, pool=True),
            *block(b, c, pool=True),
            *block(c, c, pool=False),
            GlobalMaxPool(),
            nn.Flatten(),
        )
        self.head = nn.Linear(c, n_classes)

    def penultimate(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float in [-1, 1] -> (B, 4 width), the maximum over the last positions."""
        features: Tensor = self.features(images)
        return features
