"""ResNet-18 for small images, the network of SimCLR on CIFAR-10 and of TypiClust."""

from torch import Tensor, nn
from torchvision.models import resnet18

from fmsel.training.networks.network import Network

LARGE = 64  # pixels; from here on the stem stays that of ImageNet


class ResNet18(Network):
    """torchvision's ResNet-18; below 64 pixels a 3x3 stem of stride 1 without pooling.

    Chen et al. 2020, appendix B.9: on CIFAR-10 they "replace the first 7x7 Conv of stride 2 with
    3x3 Conv of stride 1, and also remove the first max pooling operation".

    Args:
        n_classes: C.
        image_side: H = W in pixels.
    """

    def __init__(self, n_classes: int, image_side: int) -> None:
        super().__init__()
        self.body = resnet18(weights=None)
        if image_side < LARGE:
            self.body.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.body.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.body.maxpool = nn.Identity()
        self.head = nn.Linear(self.body.fc.in_features, n_classes)
        self.body.fc = nn.Identity()

    def penultimate(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float in [-1, 1] -> (B, 512), means over the last positions."""
        features: Tensor = self.body(images)
        return features
