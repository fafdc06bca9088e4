"""ResNet-9, the network of the fast CIFAR-10 trainers: strong within a few epochs on a GPU.

After D. Page, "How to train your ResNet" (2018), which won the DAWNBench CIFAR-10 race.
"""

from typing import Any

import torch
from torch import Tensor, nn

from fmsel.errors import DataError
from fmsel.training.networks.network import Network


class ResNet9(Network):
    """Four convolution stages, the second and the last with a residual pair; global max pooling.

    Args:
        n_classes: C.
        image_side: H = W in pixels, at least 8: three poolings leave one position.
        width: channels of the first stage; the later ones have 2, 4 and 8 times as many.
        bn_momentum: weight of the newest batch in the running statistics (torch convention).
    """

    # Page's; without it the maxima make logits of a fresh network sure of whatever they say, and
    # FixMatch then learns from pseudo-labels that are wrong.
    feature_scale = 0.125

    def __init__(
        self, n_classes: int, image_side: int = 32, width: int = 64, bn_momentum: float = 0.1
    ) -> None:
        super().__init__()
        if image_side < 8:
            raise DataError(f"images of {image_side} pixels are too small; use at least 8")

        def conv(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
            layers: list[nn.Module] = [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs, momentum=bn_momentum),
                nn.ReLU(inplace=True),
            ]
            return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))

        w = width
        self.stem = conv(3, w)
        self.stage1 = conv(w, 2 * w, pool=True)
        self.residual1 = nn.Sequential(conv(2 * w, 2 * w), conv(2 * w, 2 * w))
        self.stage2 = conv(2 * w, 4 * w, pool=True)
        self.stage3 = conv(4 * w, 8 * w, pool=True)
        self.residual3 = nn.Sequential(conv(8 * w, 8 * w), conv(8 * w, 8 * w))
        self.head = nn.Linear(8 * w, n_classes)

    def get_extra_state(self) -> Tensor:
        """The scale, which belongs to the weights; older ones name none and were learned at 1."""
        return torch.tensor(self.feature_scale)

    def set_extra_state(self, state: Tensor) -> None:
        self.feature_scale = float(state)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        state_dict.setdefault(f"{prefix}_extra_state", torch.tensor(1.0))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def penultimate(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float in [-1, 1] -> (B, 8 width), the maximum over the last positions."""
        x = self.stage1(self.stem(images))
        x = x + self.residual1(x)
        x = self.stage3(self.stage2(x))
        x = x + self.residual3(x)
        pooled: Tensor = x.amax(dim=(2, 3))
        return pooled
