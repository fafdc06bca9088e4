"""Give every image of a batch the operation that it drew."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Operation = Callable[..., Tensor]  # (pixels, *arguments) -> pixels, image by image
GROUPED_ON = ("cpu",)  # devices whose values the host may read without waiting


def by_kind(
    pixels: Tensor, kinds: Tensor, operations: Sequence[Operation | None], *arguments: Tensor
) -> Tensor:
    """Every image, done by the operation of its kind.

    On a CPU each operation sees only the images that drew it. Elsewhere it sees all of them and
    what others drew is thrown away: so no shape depends on the draws, nothing is read on the host,
    and a CUDA graph can record it. Both give the same bits.

    Args:
        pixels: (B, channels, P) uint8.
        kinds: (B,) int64, positions in `operations`, on the same device.
        operations: None leaves an image as it is; the others give new memory.
        arguments: (B, …) each; every operation gets the rows of its images.
    Returns:
        (B, channels, P) uint8, new memory.
    """
    way = grouped if pixels.device.type in GROUPED_ON else everywhere
    return way(pixels, kinds, operations, *arguments)


def grouped(
    pixels: Tensor, kinds: Tensor, operations: Sequence[Operation | None], *arguments: Tensor
) -> Tensor:
    """`by_kind`, with shapes that depend on the draws."""
    done = pixels.clone()
    order = torch.split(
        kinds.argsort(stable=True), kinds.bincount(minlength=len(operations)).tolist()
    )
    for operation, chosen in zip(operations, order, strict=True):
        if operation is not None and len(chosen):
            done[chosen] = operation(pixels[chosen], *(each[chosen] for each in arguments))
    return done


def everywhere(
    pixels: Tensor, kinds: Tensor, operations: Sequence[Operation | None], *arguments: Tensor
) -> Tensor:
    """`by_kind`, with fixed shapes."""
    done = pixels.clone()
    for kind, operation in enumerate(operations):
        if operation is not None:
            mine = (kinds == kind)[:, None, None]
            done = torch.where(mine, operation(pixels, *arguments), done)
    return done
