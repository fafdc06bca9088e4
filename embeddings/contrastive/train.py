"""Train a network to recognise an image in two random views (SimCLR, Chen et al., ICML 2020)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fmsel.embeddings.contrastive.config import SimclrConfig
from fmsel.embeddings.contrastive.loss import nt_xent
from fmsel.embeddings.contrastive.resnet18 import ResNet18
from fmsel.embeddings.contrastive.views import augment, draw
from fmsel.embeddings.vectors.plan import Advance
from fmsel.errors import FmselError
from fmsel.seeds import generator, torch_seed
from fmsel.training.augment.weak import to_float
from fmsel.training.engine.device import Precision, autocast
from fmsel.training.engine.optim import set_lr, sgd
from fmsel.training.engine.schedule import Schedule
from fmsel.training.networks.build import build_network
from fmsel.training.networks.network import Network

BASE_BATCH = 512  # that the learning rate is given for
ENCODE_BATCH = 256  # images at a time


class Simclr:
    """A network in training; equal arguments give equal weights on a CPU.

    Args:
        images: (N, 3, H, W) uint8 on the device, N >= batch.
        config: the network and its optimisation.
        seed: of initialisation, order and views.
        precision: of convolutions.

    Attributes:
        step: steps done, of `steps`.
    """

    def __init__(
        self, images: Tensor, config: SimclrConfig, *, seed: int, precision: Precision
    ) -> None:
        self.images, self.config, self.seed, self.precision = images, config, seed, precision
        self.device = images.device
        self.per_epoch = len(images) // config.batch
        self.steps, self.step = self.per_epoch * config.epochs, 0
        backbone = new_network(config.arch, images.shape[2], seed)
        self.model = nn.ModuleDict(
            {"backbone": backbone, "projection": new_projection(backbone, config, seed)}
        ).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        lr = config.lr * config.batch / BASE_BATCH
        self.optimiser = sgd(
            self.model, lr=lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
        warmup = round(config.warmup * self.steps)
        self.schedule = Schedule(name="sgdr", lr=lr, steps=self.steps + 1, warmup=warmup)
        self._order = torch.empty(0, dtype=torch.int64)
        self._loss = torch.zeros((), device=self.device)

    @property
    def network(self) -> Network:
        """The network under the projection head."""
        backbone = self.model["backbone"]
        assert isinstance(backbone, Network)
        return backbone

    def advance(self) -> None:
        """One step: two views of a batch, the loss, the update."""
        self.model.train()
        set_lr(self.optimiser, self.schedule(self.step + 1))
        images = self.images[self._batch()]
        views = torch.cat([self._view(images, number) for number in (0, 1)])
        with autocast(self.device, self.precision):
            features = self.network.penultimate(views)
        first, second = self.model["projection"](features.float()).chunk(2)
        loss = nt_xent(first, second, self.config.temperature)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self._loss = loss.detach()
        self.step += 1

    def check_finite(self) -> None:
        """Wait for the device; FmselError where the last loss is nan or infinite."""
        if not self._loss.isfinite():
            raise FmselError(
                f"the loss of simclr was not finite at step {self.step:,} of {self.steps:,}; "
                "try another --seed"
            )

    def state(self) -> dict[str, Any]:
        """All that a step changes, for a checkpoint."""
        return {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: Mapping[str, Any], step: int) -> None:
        """Go on from a saved `state` after `step` steps."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = step

    def _batch(self) -> Tensor:
        """(B,) images of this step: each at most once an epoch, in a new order every epoch."""
        epoch, place = divmod(self.step, self.per_epoch)
        if place == 0 or not len(self._order):
            order = generator(self.seed, "simclr order", epoch).permutation(len(self.images))
            self._order = torch.from_numpy(order).to(self.device)
        return self._order[place * self.config.batch :][: self.config.batch]

    def _view(self, images: Tensor, number: int) -> Tensor:
        count, _, height, width = images.shape
        draws = draw(
            self.config.views, count, height, width, seed=self.seed, step=self.step, view=number
        )
        views = augment(images, draws.to(self.device))
        return views.contiguous(memory_format=torch.channels_last)


def new_network(arch: str, side: int, seed: int) -> Network:
    """A freshly initialised network for images of `side` pixels; its head of one class is unused.

    Raises:
        DataError: the images are too small for it.
    """
    if arch != "resnet18":
        return build_network(arch, n_classes=1, image_side=side, bn_momentum=0.1, seed=seed)
    with torch.random.fork_rng(devices=[]):  # torchvision initialises from the default generator
        torch.default_generator.manual_seed(torch_seed(seed, "init"))
        return ResNet18(1, side)


def new_projection(network: Network, config: SimclrConfig, seed: int) -> nn.Sequential:
    """The projection head: one hidden layer as wide as the features (section 2.1)."""
    width = network.head.in_features
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed(seed, "simclr projection"))
        return nn.Sequential(
            nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, config.projection)
        )


@torch.inference_mode()
def features_of(
    network: Network, images: Tensor, precision: Precision, advance: Advance
) -> npt.NDArray[np.float32]:
    """(N, D) features of (N, 3, H, W) uint8 images; the network is put in evaluation mode."""
    network.eval()
    rows = []
    for chunk in torch.split(images, ENCODE_BATCH):
        views = to_float(chunk).contiguous(memory_format=torch.channels_last)
        with autocast(images.device, precision):
            features = network.penultimate(views)
        rows.append(features.float().cpu().numpy())
        advance(len(chunk))
    return np.concatenate(rows)
