"""Networks by name: `wrn-28-2` is WRN-28 of widening 2, `small-conv-64` SmallConv of width 64."""

import re
from threading import Lock

import torch

from fmsel.errors import OptionError
from fmsel.seeds import torch_seed
from fmsel.training.networks.network import Network
from fmsel.training.networks.resnet9 import ResNet9
from fmsel.training.networks.small_conv import SmallConv
from fmsel.training.networks.wide_resnet import WideResNet

_ONE_AT_A_TIME = Lock()
_NAME = re.compile(r"(wrn-28|small-conv|resnet9)-([1-9]\d{0,3})")


def parse_architecture(arch: str) -> tuple[str, int]:
    """Family and size of a network's name, such as ("wrn-28", 2).

    Raises:
        OptionError: no network has that name.
    """
    match = _NAME.fullmatch(arch)
    if match is None:
        raise OptionError(
            f"unknown arch {arch!r}; use wrn-28-K (K = 2 in the paper, 8 for CIFAR-100), "
            "small-conv-WIDTH such as small-conv-64, or resnet9-WIDTH such as resnet9-64"
        )
    return match[1], int(match[2])


def build_network(
    arch: str, *, n_classes: int, image_side: int, bn_momentum: float, seed: int
) -> Network:
    """A freshly initialised network; equal arguments give equal weights.

    Args:
        arch: as for `parse_architecture`.
        n_classes: C.
        image_side: H = W in pixels.
        bn_momentum: weight of the newest batch in the running statistics.
        seed: of the "init" stream.
    Raises:
        OptionError: unknown `arch`.
        DataError: the images are too small for it.
    """
    family, size = parse_architecture(arch)
    # Modules initialise themselves from torch's default generator, which all threads share; it is
    # put back afterwards.
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed(seed, "init"))
        if family == "wrn-28":
            return WideResNet(n_classes, image_side, 16 * size, bn_momentum)
        if family == "resnet9":
            return ResNet9(n_classes, image_side, size, bn_momentum)
        return SmallConv(n_classes, image_side, size, bn_momentum)
