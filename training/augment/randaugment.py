"""RandAugment on the device, for a whole batch, with operations and amounts of each image's own.

The published versions draw from the same 14 operations and differ in how many they apply, how
strongly, how empty pixels are filled and what is cut out; each is a `Recipe` in its own module of
`strong`. Operations are Pillow's, bit for bit. Amounts are in the operation's own unit: degrees,
fractions (shear), pixels (translation), enhancement factors, bits kept, thresholds; 0 where there
is none.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fmsel.training.augment import colour
from fmsel.training.augment.cutout import covered, paint
from fmsel.training.augment.geometry import GEOMETRY, affine, nearest
from fmsel.training.augment.strong import Stateless
from fmsel.training.augment.weak import to_float

OPAQUE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # these drop the alpha channel
    "autocontrast": lambda images, amount: colour.autocontrast(images),
    "equalize": lambda images, amount: colour.equalize(images),
    "posterize": colour.posterize,
    "solarize": colour.solarize,
}
DEGENERATE: dict[str, Callable[[Tensor], Tensor]] = {  # what an enhancement blends with
    "brightness": torch.zeros_like,
    "color": colour.luma,
    "contrast": colour.mean_luma,
    "sharpness": colour.smooth,
}
OPS = ("identity", *GEOMETRY, *DEGENERATE, *OPAQUE)
FIRST_COLOUR = 1 + len(GEOMETRY)
# Geometric operations are one kind: they are done together.
KINDS = torch.tensor([0] + [1] * len(GEOMETRY) + list(range(FIRST_COLOUR, len(OPS))))


@dataclass(frozen=True)
class Policies:
    """What happens to each of B images; on the CPU.

    Attributes:
        ops: (B, K) int64, positions in `OPS`; 0 = identity.
        amounts: (B, K) float64.
        boxes: (B, 4) int64, the cutout's top, left, bottom and right, the last two exclusive.
    """

    ops: Tensor
    amounts: Tensor
    boxes: Tensor


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One published RandAugment.

    Attributes:
        draw: (count, side, CPU generator) -> policies.
        cutout: RGB that is painted into the boxes. None: RGBA images, whose empty pixels and boxes
            become grey, 0 in [-1, 1], at the end.
        move: a transformation from `geometry`.
    """

    draw: Callable[[int, int, torch.Generator], Policies]
    cutout: tuple[int, int, int] | None
    move: Callable[[Tensor, Tensor], Tensor] = nearest


class RandAugment(Stateless):
    """One recipe for square images of one side.

    Args:
        side: H = W in pixels.
        device: where the images will be.
        recipe: whose RandAugment.
    """

    def __init__(self, side: int, device: torch.device, recipe: Recipe) -> None:
        self.side, self.device, self.recipe = side, device, recipe
        self.colour = torch.tensor(recipe.cutout or (), dtype=torch.uint8, device=device)[:, None]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw policies and apply them: (B, 3, H, W) uint8 -> (B, 3, H, W) float32 in [-1, 1]."""
        return self.apply(images, self.recipe.draw(len(images), self.side, generator))

    def apply(self, images: Tensor, policies: Policies) -> Tensor:
        """Apply given policies; see `__call__`."""
        pixels = images.flatten(2)  # (B, 3, P)
        alpha = torch.full_like(pixels[:, :1], 255)
        pixels = pixels.clone() if self.recipe.cutout else torch.cat([pixels, alpha], dim=1)
        for ops, amounts in zip(policies.ops.T, policies.amounts.T, strict=True):
            self._apply_slot(pixels, ops, amounts)
        boxes = policies.boxes.to(self.device, non_blocking=True)
        if self.recipe.cutout:
            return to_float(paint(pixels, boxes, self.colour)).view_as(images)
        blank = (pixels[:, 3] == 0) | covered(boxes, self.side)
        return to_float(pixels[:, :3]).masked_fill_(blank[:, None], 0.0).view_as(images)

    def _apply_slot(self, pixels: Tensor, ops: Tensor, amounts: Tensor) -> None:
        """One operation an image, in place; each operation sees only the images that drew it."""
        coefficients = self._coefficients(ops, amounts).to(self.device, non_blocking=True)
        on_device = amounts.to(self.device, non_blocking=True)
        for kind, chosen in by_kind(KINDS[ops], self.device):
            if kind == 0:
                continue
            group, amount = pixels[chosen], on_device[chosen]
            if kind < FIRST_COLOUR:
                pixels[chosen] = self.recipe.move(group, coefficients[chosen])
            elif OPS[kind] in OPAQUE:
                pixels[chosen, :3] = OPAQUE[OPS[kind]](group[:, :3], amount)
                pixels[chosen, 3:] = 255
            else:
                group = group[:, :3]
                pixels[chosen, :3] = colour.blend(DEGENERATE[OPS[kind]](group), group, amount)

    def _coefficients(self, ops: Tensor, amounts: Tensor) -> Tensor:
        """(B, 6) float64; the identity where the operation is not geometric."""
        columns = torch.arange(1, FIRST_COLOUR)
        return affine((ops[:, None] == columns) * amounts[:, None], self.side)


def by_kind(kinds: Tensor, device: torch.device) -> Iterator[tuple[int, Tensor]]:
    """(B,) int64 on the CPU -> each kind that occurs, and its positions on the device."""
    counts = kinds.bincount().tolist()
    order = kinds.argsort(stable=True).to(device, non_blocking=True)
    groups = enumerate(torch.split(order, counts))
    return ((kind, chosen) for kind, chosen in groups if len(chosen))


def amount_table(amount: Callable[[str, int, int], float], side: int) -> Tensor:
    """(14, 9) float64: `amount(op, level, side)` of every operation at levels 1..9."""
    rows = [[amount(op, level, side) for level in range(1, 10)] for op in OPS]
    return torch.tensor(rows, dtype=torch.float64)


def signed_amounts(table: Tensor, ops: Tensor, levels: Tensor, signs: Tensor) -> Tensor:
    """Amounts of (B, K) operations at levels 1..9; sign 1 makes geometric ones negative."""
    geometric = (ops > 0) & (ops < FIRST_COLOUR)
    return table[ops, levels - 1] * (1 - 2 * signs * geometric)


def draw_levels(table: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The reference's choice: (B, 2) operations and amounts.

    Two operations an image, drawn with replacement out of 14, each applied with probability 0.5,
    at a level of 1..9 and with a sign.
    """

    def draw(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (count, 2), generator=generator)

    applied = draw(0, 2)
    ops = draw(0, len(OPS)) * applied
    return ops, signed_amounts(table, ops, draw(1, 10), draw(0, 2))
