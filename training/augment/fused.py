# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
"""RandAugment of a whole batch in one Triton kernel: each image runs only its own operations.

The bits are those of `colour`, `geometry` and `cutout`, so every float operation rounds by itself:
the kernel is compiled without fused multiply-adds, and divides only in float64. A pixel is one
int32: red, green << 8, blue << 16, alpha << 24. Triton is not everywhere, so nothing imports this
module before it is used.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from fmsel.training.augment.randaugment import DEGENERATE, FIRST_COLOUR, OPAQUE, OPS

SIDES = (8, 16, 32, 64)  # smaller ones leave threads idle, larger ones need too many registers
OLDEST = (8, 0)  # compute capability that Triton supports
TABLE = 256  # values of a channel
TO_UNIT = float(torch.tensor(2 / 255, dtype=torch.float32))  # rounded, as torch's kernels round it

_FIRST_COLOUR = tl.constexpr(FIRST_COLOUR)
_FIRST_OPAQUE = tl.constexpr(FIRST_COLOUR + len(DEGENERATE))
_BRIGHTNESS, _COLOR, _CONTRAST, _SHARPNESS = (tl.constexpr(OPS.index(op)) for op in DEGENERATE)
_AUTOCONTRAST, _EQUALIZE, _POSTERIZE, _SOLARIZE = (tl.constexpr(OPS.index(op)) for op in OPAQUE)
_TABLE = tl.constexpr(TABLE)
_TO_UNIT = tl.constexpr(TO_UNIT)
_GREY = tl.constexpr(0x010101)  # times a value: that value in every colour
_ALPHA = tl.constexpr(-(1 << 24))  # the alpha byte; an int32


def made_for(
    side: int, device: torch.device, cutout: tuple[int, int, int] | None
) -> Callable[[Tensor, Sequence[Tensor]], Tensor] | None:
    """`distort` for such images; None where it is not made for them or for the GPU.

    It is compiled at its first call, for which a recording of a CUDA graph could not wait.
    """
    if side not in SIDES or torch.version.cuda is None:
        return None
    if torch.cuda.get_device_capability(device) < OLDEST:
        return None
    return partial(distort, cutout=cutout)


def distort(images: Tensor, draws: Sequence[Tensor], cutout: tuple[int, int, int] | None) -> Tensor:
    """What `RandAugment.distort` does where `move` is `nearest`; no host wait.

    Args:
        images: (B, 3, side, side) uint8, side in `SIDES`.
        draws: the tensors of `randaugment.Draws` on the images' device.
        cutout: as in `randaugment.Recipe`.
    Returns:
        (B, 3, side, side) float32 in [-1, 1], new memory.
    """
    count, _, side, _ = images.shape
    ops, amounts, coefficients, boxes = (each.contiguous() for each in draws)
    views = torch.empty(images.shape, dtype=torch.float32, device=images.device)
    if not count:
        return views
    scratch = images.new_empty((count, side * side + TABLE), dtype=torch.int32)
    red, green, blue = cutout or (0, 0, 0)
    with torch.cuda.device_of(images):  # Triton launches on the current device
        _distort[(count,)](
            images.contiguous(), ops, amounts, coefficients, boxes, scratch, views, ops.shape[1],
            SIDE=side, PAINTED=cutout is not None, PAINT=red | green << 8 | blue << 16,
            num_warps=min(max(side * side // 128, 1), 16), num_stages=1, enable_fp_fusion=False,
        )  # fmt: skip
    return views


# One kernel for any number of slots, and for draws anywhere in a buffer.
@triton.jit(do_not_specialize=["ops", "amounts", "coefficients", "boxes", "slots"])
def _distort(
    images, ops, amounts, coefficients, boxes, scratch, views, slots,
    SIDE: tl.constexpr, PAINTED: tl.constexpr, PAINT: tl.constexpr,
):  # fmt: skip
    """One image of `distort`; PAINTED: by a cutout of the colour PAINT, else grey where empty."""
    PIXELS: tl.constexpr = SIDE * SIDE
    image = tl.program_id(0).to(tl.int64)
    index = tl.arange(0, PIXELS)
    row, column = index // SIDE, index % SIDE
    room = scratch + image * (PIXELS + _TABLE)
    pixels = tl.zeros((PIXELS,), tl.int32) + _ALPHA
    for place in tl.static_range(3):
        values = tl.load(images + (image * 3 + place) * PIXELS + index)
        pixels |= values.to(tl.int32) << 8 * place
    slot = 0
    while slot < slots:  # range() of an argument fails in some Triton's interpreter
        drawn = image * slots + slot
        op, amount = tl.load(ops + drawn), tl.load(amounts + drawn)
        if op >= _FIRST_OPAQUE:
            if op == _AUTOCONTRAST:
                pixels = _autocontrast(pixels)
            elif op == _EQUALIZE:
                pixels = _equalize(pixels, room + PIXELS)
            elif op == _POSTERIZE:
                pixels &= ((0xFF << (8 - amount.to(tl.int64)) & 0xFF) * _GREY).to(tl.int32)
            else:
                pixels = _solarize(pixels, amount)
            pixels |= _ALPHA
        elif op >= _FIRST_COLOUR:
            faded = pixels & 0  # what an enhancement blends with; black for brightness
            if op == _COLOR:
                faded = _luma(pixels) * _GREY
            elif op == _CONTRAST:
                faded += (2 * tl.sum(_luma(pixels)) + PIXELS) // (2 * PIXELS) * _GREY
            elif op == _SHARPNESS:
                faded = _smooth(pixels, room, index, row, column, SIDE)
            pixels = _blend(faded, pixels, amount.to(tl.float32))
        elif op > 0:
            pixels = _nearest(pixels, room, coefficients + drawn * 6, index, row, column, SIDE)
        slot += 1
    box = boxes + image * 4
    covered = (row >= tl.load(box)) & (row < tl.load(box + 2))
    covered &= (column >= tl.load(box + 1)) & (column < tl.load(box + 3))
    if PAINTED:
        pixels = tl.where(covered, PAINT, pixels)
    else:
        covered |= _channel(pixels, 3) == 0
    for place in tl.static_range(3):
        values = _channel(pixels, place).to(tl.float32) * _TO_UNIT - 1.0
        if not PAINTED:
            values = tl.where(covered, 0.0, values)
        tl.store(views + (image * 3 + place) * PIXELS + index, values)


@triton.jit
def _channel(pixels, place):
    return (pixels >> 8 * place) & 0xFF


@triton.jit
def _luma(pixels):
    red, green, blue = _channel(pixels, 0), _channel(pixels, 1), _channel(pixels, 2)
    return (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16


@triton.jit
def _blend(start, end, factor):
    """Of two images; alpha is the second one's."""
    done = end & _ALPHA
    for place in tl.static_range(3):
        low, high = _channel(start, place).to(tl.float32), _channel(end, place).to(tl.float32)
        blended = low + factor * (high - low)
        done |= tl.minimum(tl.maximum(blended, 0.0), 255.0).to(tl.int32) << 8 * place
    return done


@triton.jit
def _solarize(pixels, threshold):
    done = pixels & 0
    for place in tl.static_range(3):
        values = _channel(pixels, place)
        done |= tl.where(values.to(tl.float64) < threshold, values, 255 - values) << 8 * place
    return done


@triton.jit
def _autocontrast(pixels):
    done = pixels & 0
    for place in range(3):
        values = _channel(pixels, place)
        low, high = tl.min(values), tl.max(values)
        scale = 255.0 / tl.maximum(high - low, 1).to(tl.float64)
        shift = -low.to(tl.float64) * scale
        stretched = (values.to(tl.float64) * scale + shift).to(tl.int32)  # cuts off, as trunc
        stretched = tl.minimum(tl.maximum(stretched, 0), 255)
        done |= tl.where(high > low, stretched, values) << 8 * place
    return done


@triton.jit
def _equalize(pixels, room):
    """By one table of the new values of all channels, in `room`."""
    value = tl.arange(0, _TABLE)
    table = value & 0
    for place in range(3):
        values = _channel(pixels, place)
        counts = tl.histogram(values, _TABLE)
        before = tl.cumsum(counts, 0) - counts
        step = tl.sum((values < tl.max(values)).to(tl.int32)) // 255
        flat = tl.minimum((step // 2 + before) // tl.maximum(step, 1), 255)
        table |= tl.where(step > 0, flat, value) << 8 * place
    _show(room + value, table)
    done = pixels & 0
    for place in tl.static_range(3):
        found = tl.load(room + _channel(pixels, place))
        done |= found & (0xFF << 8 * place)
    return done


@triton.jit
def _smooth(pixels, room, index, row, column, SIDE: tl.constexpr):
    """As `colour.smooth`."""
    _show(room + index, pixels)
    inner = (row > 0) & (row < SIDE - 1) & (column > 0) & (column < SIDE - 1)
    sums = 4 * (pixels & 0xFF00FF)  # red and blue side by side: neither reaches 16 bits
    greens = 4 * _channel(pixels, 1)
    for down in tl.static_range(-1, 2):
        for right in tl.static_range(-1, 2):
            near = tl.load(room + index + (down * SIDE + right), inner, 0)
            sums += near & 0xFF00FF
            greens += _channel(near, 1)
    red, blue = (2 * (sums & 0xFFFF) + 13) // 26, (2 * (sums >> 16) + 13) // 26
    green = (2 * greens + 13) // 26
    return tl.where(inner, red | green << 8 | blue << 16, pixels)


@triton.jit
def _nearest(pixels, room, coefficients, index, row, column, SIDE: tl.constexpr):
    """As `geometry.nearest`."""
    _show(room + index, pixels)
    x = _source(coefficients, row, column)
    y = _source(coefficients + 3, row, column)
    inside = (x >= 0) & (x < SIDE) & (y >= 0) & (y < SIDE)
    return tl.load(room + y * SIDE + x, inside, 0)


@triton.jit
def _source(coefficients, row, column):
    """Input positions along one axis, in 16.16 fixed point until the end; int64."""
    along, across = tl.load(coefficients), tl.load(coefficients + 1)
    start = _fixed(tl.load(coefficients + 2) + along * 0.5 + across * 0.5)
    return (start + _fixed(along) * column + _fixed(across) * row) >> 16


@triton.jit
def _fixed(value):
    return tl.floor(value * 65536.0 + 0.5).to(tl.int64)


@triton.jit
def _show(room, values):
    """Store what other threads then load; they are done with what was there before."""
    tl.debug_barrier()
    tl.store(room, values)
    tl.debug_barrier()
