"""RandAugment on the device, for a whole batch, with operations and amounts of each image's own.

The published versions draw from the same 14 operations and differ in how many they apply, how
strongly, how empty pixels are filled and what is cut out; each is a `Recipe` in its own module of
`strong`. Operations are Pillow's, bit for bit. Amounts are in the operation's own unit: degrees,
fractions (shear), pixels (translation), enhancement factors, bits kept, thresholds; 0 where there
is none.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor

from fmsel.training.augment import colour
from fmsel.training.augment.cutout import covered, paint
from fmsel.training.augment.geometry import GEOMETRY, affine, nearest
from fmsel.training.augment.kinds import Operation, by_kind
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
OPAQUE_ALPHA = 255
PROOF = 256  # images on which the fused kernel must have torch's bits before it is used
# Geometric operations are one kind: they are done together.
KINDS = torch.tensor([0] + [1] * len(GEOMETRY) + list(range(2, 2 + len(OPS) - FIRST_COLOUR)))


class Policies(NamedTuple):
    """What happens to each of B images; on the CPU.

    Attributes:
        ops: (B, K) int64, positions in `OPS`; 0 = identity.
        amounts: (B, K) float64.
        boxes: (B, 4) int64, the cutout's top, left, bottom and right, the last two exclusive.
    """

    ops: Tensor
    amounts: Tensor
    boxes: Tensor


class Draws(NamedTuple):
    """Policies as the device needs them, on any device.

    Attributes:
        ops: (B, K) int64, as in `Policies`.
        amounts: (B, K) float64.
        coefficients: (B, K, 6) float64, of `affine`; the identity where nothing moves.
        boxes: (B, 4) int64.
    """

    ops: Tensor
    amounts: Tensor
    coefficients: Tensor
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
        self.side, self.recipe = side, recipe
        self.colour = torch.tensor(recipe.cutout or (), dtype=torch.uint8, device=device)[:, None]
        self.kinds = KINDS.to(device)
        self.operations: list[Operation | None] = [
            None,
            lambda pixels, amount, coefficients: recipe.move(pixels, coefficients),
            *(_enhancement(degenerate) for degenerate in DEGENERATE.values()),
            *(_opaque(operation) for operation in OPAQUE.values()),
        ]
        self.fused: Operation | None = None
        try:
            fused = _fused(side, device, recipe)
            if fused is not None and self._agrees(fused, device):
                self.fused = fused
        except Exception:  # of Triton, of a C compiler, of the file system: torch's way needs none
            self.fused = None

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """Draw policies for `count` images; see `StrongAugment`."""
        return self.prepare(self.recipe.draw(count, self.side, generator))

    def prepare(self, policies: Policies) -> Draws:
        """What `distort` needs of given policies; sines are those of the CPU everywhere."""
        ops, amounts, boxes = policies
        columns = torch.arange(1, FIRST_COLOUR)
        moves = ((ops[..., None] == columns) * amounts[..., None]).flatten(0, 1)
        return Draws(ops, amounts, affine(moves, self.side).view(*ops.shape, 6), boxes)

    def distort(self, images: Tensor, draws: Sequence[Tensor]) -> Tensor:
        """Apply `Draws` on the images' device; see `StrongAugment`."""
        if self.fused is not None:
            return self.fused(images, draws)
        ops, amounts, coefficients, boxes = draws
        pixels = images.flatten(2)  # (B, 3, P)
        if not self.recipe.cutout:
            pixels = torch.cat([pixels, torch.full_like(pixels[:, :1], OPAQUE_ALPHA)], dim=1)
        for slot in range(ops.shape[1]):
            kinds = self.kinds[ops[:, slot]]
            arguments = amounts[:, slot], coefficients[:, slot]
            pixels = by_kind(pixels, kinds, self.operations, *arguments)
        if self.recipe.cutout:
            return to_float(paint(pixels, boxes, self.colour)).view_as(images)
        blank = (pixels[:, 3] == 0) | covered(boxes, self.side)
        return to_float(pixels[:, :3]).masked_fill_(blank[:, None], 0.0).view_as(images)

    def _agrees(self, fused: Operation, device: torch.device) -> bool:
        """Whether `fused` has the bits of torch's way on this very device; warns if not."""
        generator = torch.Generator().manual_seed(0)
        draws = [each.to(device) for each in self.draw(PROOF, generator)]
        # A few levels or many, anywhere in 0..255, and flat: where stretching a histogram matters.
        levels, lowest = (
            torch.randint(low, 257, (PROOF, 3, 1, 1), generator=generator) for low in (1, 0)
        )
        levels[::8], levels[1::8] = 1, 2
        shape = (PROOF, 3, self.side, self.side)
        noise = torch.randint(0, 2**30, shape, generator=generator) % levels
        images = (noise + lowest % (257 - levels)).to(torch.uint8).to(device)
        agrees = torch.equal(fused(images, draws), self.distort(images, draws))
        if not agrees:
            warnings.warn(
                "RandAugment's kernel gives other bits than torch on this device; torch's slower "
                "way is taken; please report your GPU and your version of triton",
                stacklevel=2,
            )
        return agrees


def _fused(side: int, device: torch.device, recipe: Recipe) -> Operation | None:
    """`distort` in one kernel, with the same bits; None where there is no such kernel."""
    if device.type != "cuda" or recipe.move is not nearest or find_spec("triton") is None:
        return None
    from fmsel.training.augment import fused  # imports Triton

    return fused.made_for(side, device, recipe.cutout)


def _enhancement(degenerate: Callable[[Tensor], Tensor]) -> Operation:
    """Blend RGB with what `degenerate` makes of it; an alpha channel stays."""

    def run(pixels: Tensor, amount: Tensor, coefficients: Tensor) -> Tensor:
        rgb = pixels[:, :3]
        return torch.cat([colour.blend(degenerate(rgb), rgb, amount), pixels[:, 3:]], dim=1)

    return run


def _opaque(operation: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    """An operation on RGB that makes an alpha channel opaque."""

    def run(pixels: Tensor, amount: Tensor, coefficients: Tensor) -> Tensor:
        alpha = torch.full_like(pixels[:, 3:], OPAQUE_ALPHA)
        return torch.cat([operation(pixels[:, :3], amount), alpha], dim=1)

    return run


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
