"""RandAugment and Cutout of FixMatch's reference code, for a whole batch, equal to Pillow's bits.

Two operations an image, drawn with replacement out of 14, each applied with probability 0.5 at a
level of 1..9, then always a cutout (google-research/fixmatch, libml/augment.py `AugmentPoolRAMC`
and third_party/auto_augment/augmentations.py). Pixels that a geometric operation leaves empty
become grey (0 in [-1, 1]) at the end, unless an operation that drops the alpha channel made them
opaque in between. Lengths in pixels are those of a side of 32 and scale with the image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fmsel.training.augment import colour
from fmsel.training.augment.strong import Stateless
from fmsel.training.augment.tables import ENHANCEMENTS, GEOMETRY, blend_table, gather_maps
from fmsel.training.augment.weak import to_float

OPAQUE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # these drop the alpha channel
    "autocontrast": lambda images, level: colour.autocontrast(images),
    "equalize": lambda images, level: colour.equalize(images),
    "posterize": colour.posterize,
    "solarize": colour.solarize,
}
DEGENERATE: dict[str, Callable[[Tensor], Tensor]] = {  # what an enhancement blends with
    "brightness": lambda images: torch.zeros_like(images, dtype=torch.int64),
    "color": colour.luma,
    "contrast": colour.mean_luma,
    "sharpness": colour.smooth,
}
OPS = ("identity", *GEOMETRY, *ENHANCEMENTS, *OPAQUE)


@dataclass(frozen=True)
class Policies:
    """What happens to each of B images; on the CPU.

    Attributes:
        ops: (B, 2) int64, positions in `OPS`; 0 = identity.
        levels: (B, 2) int64 in 1..9.
        signs: (B, 2) int64, 0 for + and 1 for -.
        centres: (B, 2) int64, row and column of the cutout's centre.
    """

    ops: Tensor
    levels: Tensor
    signs: Tensor
    centres: Tensor


def draw_policies(count: int, side: int, generator: torch.Generator) -> Policies:
    """Draw `count` policies for images of `side` pixels from a CPU generator."""

    def draw(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (count, 2), generator=generator)

    applied = draw(0, 2)
    return Policies(draw(0, len(OPS)) * applied, draw(1, 10), draw(0, 2), draw(0, side))


class RandAugment(Stateless):
    """The strong augmentation, for square images of one side.

    Args:
        side: H = W in pixels.
        device: where the tables lie and the images will.
    """

    def __init__(self, side: int, device: torch.device) -> None:
        self.side = side
        self.maps = gather_maps(side).to(device)
        self.blends = blend_table().to(device)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw policies and apply them: (B, 3, H, W) uint8 -> (B, 3, H, W) float32 in [-1, 1]."""
        return self.apply(images, draw_policies(len(images), self.side, generator))

    def apply(self, images: Tensor, policies: Policies) -> Tensor:
        """Apply given policies; see `__call__`."""
        pixels = images.flatten(2).clone()  # (B, 3, P)
        holes = torch.zeros_like(pixels[:, 0], dtype=torch.bool)  # (B, P)
        for slot in range(2):
            self._apply_slot(pixels, holes, policies, slot)
        blank = holes.view(-1, self.side, self.side) | self._cutouts(policies.centres)
        return to_float(pixels).view_as(images).masked_fill_(blank[:, None], 0.0)

    def _apply_slot(self, pixels: Tensor, holes: Tensor, policies: Policies, slot: int) -> None:
        """One operation an image, in place; each operation sees only the images that drew it."""
        ops, levels = policies.ops[:, slot], policies.levels[:, slot]
        self._move(pixels, holes, ops - 1, levels, policies.signs[:, slot])
        for op in range(1 + len(GEOMETRY), len(OPS)):
            chosen = (ops == op).nonzero()[:, 0]
            if not len(chosen):
                continue
            level = levels[chosen].to(pixels.device, non_blocking=True)
            chosen = chosen.to(pixels.device, non_blocking=True)
            group = pixels[chosen]
            if OPS[op] in OPAQUE:
                pixels[chosen] = OPAQUE[OPS[op]](group, level)
                holes[chosen] = False
            else:
                pixels[chosen] = self._blend(group, DEGENERATE[OPS[op]](group), level)

    def _move(
        self, pixels: Tensor, holes: Tensor, geometry: Tensor, levels: Tensor, signs: Tensor
    ) -> None:
        """Geometric operations in place: one gather; emptied pixels become black holes."""
        chosen = ((geometry >= 0) & (geometry < len(GEOMETRY))).nonzero()[:, 0]
        rows = ((geometry * 9 + levels - 1) * 2 + signs)[chosen]
        chosen = chosen.to(pixels.device, non_blocking=True)
        sources = self.maps[rows.to(pixels.device, non_blocking=True)]  # (G, P)
        outside = sources < 0
        sources = sources.clamp_min(0)
        moved = pixels[chosen].gather(2, sources[:, None].expand(-1, 3, -1))
        pixels[chosen] = moved.masked_fill_(outside[:, None], 0)
        holes[chosen] = holes[chosen].gather(1, sources) | outside

    def _blend(self, images: Tensor, degenerate: Tensor, level: Tensor) -> Tensor:
        """`Image.blend(degenerate, images, factor of level)` by look-up."""
        entry = ((level - 1)[:, None, None] * 256 + degenerate) * 256 + images
        return self.blends[entry]

    def _cutouts(self, centres: Tensor) -> Tensor:
        """(B, H, W) bool: a square of half the side about each centre, clipped at the borders."""
        reach = self.side // 4
        centres = centres.to(self.maps.device, non_blocking=True)[..., None]  # (B, 2, 1)
        axis = torch.arange(self.side, device=self.maps.device)
        inside = (axis >= centres - reach) & (axis < centres + reach)  # (B, 2, side)
        return inside[:, 0, :, None] & inside[:, 1, None, :]
