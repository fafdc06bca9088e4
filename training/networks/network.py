"""`Network`: what every network here is, features and a linear head."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Network(nn.Module, ABC):
    """A classifier whose last layer is linear.

    Attributes:
        head: D features -> C logits.
        feature_scale: what features are multiplied by before the head. Below 1 it slows the head,
            whose steps grow with the number and size of the features, against all other layers.
    """

    head: nn.Linear
    feature_scale: float = 1.0

    @abstractmethod
    def penultimate(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float in [-1, 1] -> (B, D), what the head reads."""

    def logits(self, features: Tensor) -> Tensor:
        """(B, D) of `penultimate` -> (B, C) logits in the dtype of the weights."""
        with torch.autocast(features.device.type, enabled=False):
            read = features.to(self.head.weight.dtype)
            logits: Tensor = self.head(
                read if self.feature_scale == 1 else self.feature_scale * read
            )
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float in [-1, 1] -> (B, C) logits in the dtype of the weights."""
        return self.logits(self.penultimate(images))
