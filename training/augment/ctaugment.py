"""CTAugment's 19 operations, with levels in [0, 1] that lie on the device.

google-research/fixmatch, libml/ctaugment.py. Each equals Pillow's bits. Empty pixels are black.
As in the reference, `translate_x` and `translate_y` change nothing: it shifts by up to 0.3 *pixels*
where a share of the side was meant, and nearest sampling rounds that to none.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from fmsel.training.augment import colour
from fmsel.training.augment.cutout import centred_boxes, paint
from fmsel.training.augment.geometry import affine, nearest, single
from fmsel.training.augment.kinds import Operation, by_kind
from fmsel.training.augment.randaugment import DEGENERATE
from fmsel.training.augment.rescale import FILTERS, resize, weight_matrices

BINS = {  # of each parameter
    "autocontrast": (17,),
    "blur": (17,),
    "brightness": (17,),
    "color": (17,),
    "contrast": (17,),
    "cutout": (17,),
    "equalize": (17,),
    "invert": (17,),
    "identity": (),
    "posterize": (8,),
    "rescale": (17, 6),
    "rotate": (17,),
    "sharpness": (17,),
    "shear_x": (17,),
    "shear_y": (17,),
    "smooth": (17,),
    "solarize": (17,),
    "translate_x": (17,),
    "translate_y": (17,),
}
OPS = tuple(BINS)
UNCHANGED = ("identity", "translate_x", "translate_y")
BLENDED: dict[str, Callable[[Tensor], Tensor]] = {  # blended in by the level
    "autocontrast": colour.autocontrast,
    "blur": colour.blur,
    "equalize": colour.equalize,
    "invert": colour.invert,
    "smooth": colour.smooth,
}


class Operations:
    """The operations for square images of one side.

    Args:
        side: H = W in pixels.
        device: where the images are.
    """

    def __init__(self, side: int, device: torch.device) -> None:
        self.side = side
        self.operations: list[Operation | None] = [
            None if op in UNCHANGED else partial(self.operate, op) for op in OPS
        ]
        self.grey = torch.full((3, 1), 127, dtype=torch.uint8, device=device)
        self.matrices = weight_matrices(side).to(device)

    def __call__(self, pixels: Tensor, ops: Tensor, levels: Tensor, centres: Tensor) -> Tensor:
        """Some operations after each other on each image.

        Args:
            pixels: (B, 3, P) uint8 on the device, as all that follows.
            ops: (B, K) int64, positions in `OPS`.
            levels: (B, K, 2) float64 in [0, 1], of each parameter.
            centres: (B, K, 2) int64, row and column of cutouts.
        Returns:
            (B, 3, P) uint8, new memory.
        """
        for slot in range(ops.shape[1]):
            arguments = levels[:, slot], centres[:, slot]
            pixels = by_kind(pixels, ops[:, slot], self.operations, *arguments)
        return pixels

    def operate(self, op: str, images: Tensor, levels: Tensor, centres: Tensor) -> Tensor:
        """One operation on (G, 3, P) uint8; levels (G, 2), centres (G, 2)."""
        level = levels[:, 0]
        if op in BLENDED:
            return colour.blend(images, BLENDED[op](images), level)
        if op in DEGENERATE:
            return colour.blend(DEGENERATE[op](images), images, 0.1 + 1.9 * level)
        match op:
            case "cutout":
                return self.cut_out(images, centres, level)
            case "posterize":
                return colour.posterize(images, 1 + (level * 7.999).floor())
            case "solarize":
                return colour.solarize(images, (level * 255.999).floor())
            case "rotate":
                return self._move(images, op, ((2 * level - 1) * 45).round())
            case "shear_x" | "shear_y":
                return self._move(images, op, (2 * level - 1) * 0.3)
            case "rescale":
                return self._rescale(images, levels)
        return images

    def cut_out(self, images: Tensor, centres: Tensor, level: Tensor | None = None) -> Tensor:
        """Squares of (G, 3, P) uint8 made grey; centres (G, 2), level (G,), 1 without it."""
        level = torch.ones_like(centres[:, 0], dtype=torch.float64) if level is None else level
        size = 1 + (level * self.side * 0.499).long()
        return paint(images, centred_boxes(centres, size[:, None] // 2), self.grey)

    def _move(self, images: Tensor, op: str, amount: Tensor) -> Tensor:
        return nearest(images, affine(single(op, amount), self.side))

    def _rescale(self, images: Tensor, levels: Tensor) -> Tensor:
        rims = (levels[:, 0] * 0.25 * self.side).round().long()
        chosen = (levels[:, 1] * 5.99).long()
        return resize(images, self.matrices[chosen * (len(self.matrices) // len(FILTERS)) + rims])
