"""A wide residual network's training pass with all that lies between its convolutions fused.

Torch's own kernels write and read every activation a dozen times; these do what the network's
modules do in as few passes as batch norm allows (see `kernels`), and narrow 3 x 3 convolutions
with them. Differences to the modules:

* normalised values are rounded once, to the convolutions' precision, not after every operation;
* convolutions get no bias: the next batch norm subtracts it, so it only moves the running mean, and
  its gradient is 0, where a sum over the batch gives rounding noise. Along the residual stream it
  is added.

Measured on an H200 (benchmarks/results/gpu-h200-2026-11-29): with convolutions of our own, one
pixel at a time, gradients were nearer to float64's than those of the modules, at twice their speed.
The present ones, two pixels at a time, have run in Triton's interpreter alone, so cuDNN's are taken
(`NARROW` = 0) until benchmarks/fused_kernels.py has measured them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmsel.training.networks import kernels
from fmsel.training.networks.wide_resnet import SLOPE, Block, SameConv, WideResNet

ELEMENTS = 4096  # of one tile between convolutions
PROGRAMS = 396  # at most, of those that sum; by registers an H200 holds 3 on each of its 132 SMs
CHUNK, PART = 1024, 4  # of these sums, how many at a time
LEAST = 16  # channels of a product; images get more, of zeros
NARROW = 0  # channels up to which 3 x 3 convolutions are ours; cuDNN is slow up to 32
NARROW_TYPES = (torch.bfloat16,)  # those that are multiplied by tensor cores without loss
PAIRS, STAGES, WARPS, CONVOLUTIONS = 64, 3, 4, 528
WEIGHT_PAIRS, WEIGHT_STAGES, WEIGHT_WARPS, WEIGHT_PROGRAMS = 64, 3, 8, 264
WEIGHT_CHUNK, WEIGHT_PART = 32, 64
LARGEST = 2**31  # elements: places are 32-bit numbers


def fused(model: nn.Module, narrow: int = NARROW) -> Callable[[Tensor], Tensor]:
    """`Fused`, or the model itself where it is another network or of odd widths."""
    if isinstance(model, WideResNet) and all(
        LEAST <= width <= ELEMENTS and width & (width - 1) == 0
        for width in (each.num_features for each in _norms(model))
    ):
        return Fused(model, narrow)
    return model


def check(device: torch.device) -> None:
    """Raise whatever keeps these kernels from working there: the GPU, no C compiler, wrong sums."""
    if torch.version.cuda is None:
        raise RuntimeError("not tried on AMD's GPUs")
    x = _last(torch.arange(32.0 * LEAST, device=device).view(2, LEAST, 4, 4))
    with torch.cuda.device(device):  # triton launches on the current one
        sums = _sums(x, nn.BatchNorm2d(LEAST).to(device)).sum(dim=1)
    torch.testing.assert_close(sums[0], x.sum(dim=(0, 2, 3)))


def _norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]


class Fused:
    """Calls `model` on (B, 3, H, W) float32 images for its (B, C) logits, in training mode.

    Gradients reach the parameters and batch norm's running statistics move as they do when the
    model itself is called. Convolutions are in autocast's dtype, if it is on.

    Args:
        model: on a CUDA device, channels_last, of widths that are powers of two.
        narrow: channels up to which 3 x 3 convolutions in bf16 are ours; 0 = none.
    """

    def __init__(self, model: WideResNet, narrow: int = NARROW) -> None:
        self.model, self.narrow = model, narrow
        counters = [each.num_batches_tracked for each in _norms(model)]
        self.counters = [each for each in counters if each is not None]

    def __call__(self, images: Tensor) -> Tensor:
        model, kind, narrow = self.model, images.device.type, self.narrow
        assert model.training and images.shape[2] == images.shape[3]
        side = images.shape[3]
        # Odd sides are padded on both ends before a stride of 2, which `kernels` does at one.
        if side % 4 or len(images) * (side + 1) ** 2 * model.head.in_features // 4 >= LARGEST:
            return model(images)  # type: ignore[no-any-return]
        on = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if on else images.dtype
        blocks = [each for each in model.blocks if isinstance(each, Block)]
        norms = [each.norm1 for each in blocks[1:]] + [model.norm]
        torch._foreach_add_(self.counters, 1)
        with torch.autocast(kind, enabled=False):
            stem, norm = model.stem, blocks[0].norm1
            x, sums = _Stem.apply(images.to(dtype), stem, norm, narrow, stem.weight, stem.bias)
            bias: Tensor | None = _bias(stem)  # only batch norm sees it; a shortcut is later
            for block, norm in zip(blocks, norms, strict=True):
                x, sums = _Block.apply(x, sums, bias, block, norm, narrow, *_parameters(block))
                bias = None
            features = _Normalised.apply(x, sums, model.norm, model.norm.weight, model.norm.bias)
            weights: torch.dtype = model.head.weight.dtype
            return model.logits(features.to(weights).mean(dim=(2, 3)))


def _bias(convolution: SameConv) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias.detach()


def _parameters(block: Block) -> list[Tensor | None]:
    shortcut = block.shortcut
    return [
        *(block.norm1.weight, block.norm1.bias, block.conv1.weight, block.conv1.bias),
        *(block.norm2.weight, block.norm2.bias, block.conv2.weight, block.conv2.bias),
        *((None, None) if shortcut is None else (shortcut.weight, shortcut.bias)),
    ]


class _Stem(torch.autograd.Function):
    """Images -> the first convolution without its bias, and its sums for batch norm `norm`."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, stem: SameConv, norm: nn.BatchNorm2d, narrow: int, *_: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)  # sums have none, and zeros would be filled in
        weight = _Weight(stem, images, narrow)
        count, channels, height, width = images.shape
        x = images
        if weight.inputs > channels:
            x = _images(images, (count, weight.inputs, height, width)).zero_()
            x[:, :channels].copy_(images)
        ctx.save_for_backward(x)
        ctx.weight = weight
        out, partial = weight.forward(x, norm)
        ctx.mark_non_differentiable(partial)
        return out, partial

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        [x] = ctx.saved_tensors
        to_weight = ctx.weight.gradient(x, _last(gradient))
        return None, None, None, None, to_weight, to_weight.new_zeros(len(to_weight))


class _Block(torch.autograd.Function):
    """(x, its sums) of one block -> those of the next, whose first batch norm is `norm`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, partial: Tensor, bias: Tensor | None, block: Block,
        norm: nn.BatchNorm2d, narrow: int, *parameters: Tensor | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        ctx.set_materialize_grads(False)
        pad = int(block.conv1.stride[0] == 2)
        numbers1 = _statistics(partial, block.norm1, bias, x)
        a1 = _normalised(x, numbers1, pad)
        weight1 = _Weight(block.conv1, a1, narrow)
        y, partial = weight1.forward(a1, block.norm2)
        weight2 = _Weight(block.conv2, y, narrow)
        numbers2 = _statistics(partial, block.norm2, block.conv1.bias, y)
        a2 = _normalised(y, numbers2, 0)
        kept = skip = a1 if block.activate_before_residual else x
        added, weight3 = _bias(block.conv2), None
        if block.shortcut is not None:
            weight3 = _Weight(block.shortcut, x, narrow)
            skip, added = weight3.plain(kept), added + _bias(block.shortcut)
        out, partial = weight2.forward(a2, norm, skip, added)
        ctx.save_for_backward(x, numbers1, a1, y, numbers2, a2)
        ctx.block, ctx.weights, ctx.pad = block, (weight1, weight2, weight3), pad
        ctx.mark_non_differentiable(partial)
        return out, partial

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, numbers1, a1, y, numbers2, a2 = ctx.saved_tensors
        weight1, weight2, weight3 = ctx.weights
        early = ctx.block.activate_before_residual
        gradient = _last(gradient)
        to2 = weight2.gradient(a2, gradient)
        before = weight2.backward(gradient, a2, y, numbers2)
        to_y, to_norm2 = _through_norm(before, y, numbers2)
        to1 = weight1.gradient(a1, to_y)
        skip, to3 = gradient, None
        if weight3 is not None:
            skip, to3 = weight3.plain_backward(gradient, a1 if early else x)
        if early:
            before = _Gradient(weight1.plain_input_gradient(to_y, a1) + skip)
        else:
            before = weight1.backward(to_y, a1, x, numbers1, ctx.pad)
        to_x, to_norm1 = _through_norm(before, x, numbers1, None if early else skip, ctx.pad)
        biases = [None if to is None else to.new_zeros(len(to)) for to in (to1, to2, to3)]
        return (
            *(to_x, None, None, None, None, None),
            *(*to_norm1, to1, biases[0], *to_norm2, to2, biases[1], to3, biases[2]),
        )


class _Normalised(torch.autograd.Function):
    """The last batch norm and activation."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, partial: Tensor, norm: nn.BatchNorm2d, weight: Tensor, bias: Tensor
    ) -> Tensor:
        numbers = _statistics(partial, norm, None, x)
        ctx.save_for_backward(x, numbers)
        return _normalised(x, numbers, 0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, numbers = ctx.saved_tensors
        gradient = _last(gradient)
        to_x, (to_weight, to_bias) = _through_norm(_Gradient(gradient), x, numbers)
        return to_x, None, None, to_weight, to_bias


class _Gradient:
    """Of an activation: its tensor and, once it is carried through leaky_relu, its sums."""

    def __init__(self, tensor: Tensor, partial: Tensor | None = None) -> None:
        self.tensor, self.partial = tensor, partial


class _Weight:
    """A convolution's weight in the precision of its images, and what is done with it."""

    def __init__(self, convolution: SameConv, images: Tensor, narrow: int) -> None:
        self.like, dtype = convolution.weight, images.dtype
        self.outputs, inputs, side, _ = self.like.shape
        self.stride, self.padding = convolution.stride[0], 0
        if side == 3 and self.stride == 1:
            self.padding = 1  # at stride 2 the image has its padding already
        ours = self.padding == 1 and max(self.outputs, inputs) <= narrow
        self.narrow = ours and dtype in NARROW_TYPES and images.shape[3] % 2 == 0
        self.inputs = max(inputs, LEAST) if self.narrow else inputs
        source = self.like.detach()
        if self.narrow:
            source = _last(source)
            size = 24 * self.inputs * self.outputs
            both = source.new_empty((2, size), dtype=dtype)
            self.ahead, self.back = both
            kernels.pair_weights[(-(-size // ELEMENTS),)](
                source, self.ahead, self.back, inputs, self.inputs, self.outputs, ELEMENTS
            )
        else:
            self.weight = source.to(dtype, memory_format=torch.channels_last)

    def plain(self, x: Tensor) -> Tensor:
        return _last(F.conv2d(x, self.weight, None, self.stride, self.padding))

    def forward(
        self, x: Tensor, norm: nn.BatchNorm2d, skip: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """The convolution, plus `skip` and `bias`, and its sums for `norm`."""
        if self.narrow:
            return self._convolve(x, norm=norm, skip=skip, bias=bias)
        out = self.plain(x)
        if skip is None or bias is None:
            return out, _sums(out, norm)
        return _add_and_sum(skip, out, bias, norm)

    def backward(
        self, gradient: Tensor, images: Tensor, raw: Tensor, numbers: Tensor, pad: int = 0
    ) -> _Gradient:
        """That of its input `images`, which batch norm and leaky_relu made of `raw`."""
        if self.narrow and not pad:
            return _Gradient(*self._convolve(gradient, raw=raw, numbers=numbers))
        return _Gradient(self.plain_input_gradient(gradient, images))

    def plain_input_gradient(self, gradient: Tensor, images: Tensor) -> Tensor:
        if self.narrow:
            return self._convolve(gradient, turned=True)[0]
        return self._backward(gradient, images, (True, False, False))[0]

    def plain_backward(self, gradient: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """(that of the images, that of the weight)."""
        of_images, of_weight, _ = self._backward(gradient, images, (True, True, False))
        return of_images, self._as_parameter(of_weight)

    def gradient(self, images: Tensor, gradient: Tensor) -> Tensor:
        """That of the weight, like the parameter."""
        if not self.narrow:
            return self._as_parameter(self._backward(gradient, images, (False, True, False))[1])
        outputs, inputs, (count, _, height, width) = self.outputs, self.inputs, images.shape
        pairs = count * height * width // 2
        programs = min(WEIGHT_PROGRAMS, -(-pairs // WEIGHT_PAIRS))
        partial = images.new_empty((programs, 9, inputs, outputs), dtype=torch.float32)
        kernels.weight_gradient[(programs,)](
            images, gradient, partial, pairs, height, width // 2,
            inputs, outputs, WEIGHT_PAIRS, WEIGHT_STAGES, num_warps=WEIGHT_WARPS,
        )  # fmt: skip
        whole = torch.empty_like(self.like)
        kernels.whole_weight_gradient[(9 * inputs * outputs // WEIGHT_PART,)](
            partial,
            whole,
            programs,
            self.like.shape[1],
            inputs,
            outputs,
            WEIGHT_CHUNK,
            WEIGHT_PART,
        )
        return whole

    def _as_parameter(self, gradient: Tensor) -> Tensor:
        return torch.empty_like(self.like).copy_(gradient)

    def _backward(
        self, gradient: Tensor, images: Tensor, mask: tuple[bool, bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        stride, padding = [self.stride] * 2, [self.padding] * 2
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            gradient, images, self.weight, None, stride, padding, [1, 1], False, [0, 0], 1, mask
        )
        return (_last(found[0]) if mask[0] else found[0], *found[1:])

    def _convolve(
        self, x: Tensor, *, norm: nn.BatchNorm2d | None = None, skip: Tensor | None = None,
        bias: Tensor | None = None, raw: Tensor | None = None, numbers: Tensor | None = None,
        turned: bool = False,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        weight, outputs, inputs = self.ahead, self.outputs, self.inputs
        if turned or raw is not None:
            weight, outputs, inputs = self.back, inputs, outputs
        count, _, height, width = x.shape
        out = _images(x, (count, outputs, height, width))
        pairs = count * height * width // 2
        programs = min(CONVOLUTIONS, -(-pairs // PAIRS))
        partial = x.new_empty((2, programs, outputs), dtype=torch.float32)
        kernels.convolve[(programs,)](
            x, weight, out, pairs, height, width // 2,
            x if skip is None else skip, x if bias is None else bias,
            x if norm is None else norm.running_mean, partial,
            x if raw is None else raw, x if numbers is None else numbers,
            inputs, outputs, PAIRS, norm is not None, skip is not None, raw is not None, SLOPE,
            STAGES, num_warps=WARPS,
        )  # fmt: skip
        return out, partial


def _last(images: Tensor) -> Tensor:
    """Rows of channels, as the kernels take them; cuDNN's convolutions give them so already."""
    return images.contiguous(memory_format=torch.channels_last)


def _tile(channels: int) -> int:
    return ELEMENTS // channels


def _images(like: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    last = torch.channels_last
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=last)


def _rows(x: Tensor) -> int:
    return x.numel() // x.shape[1]


def _partial(x: Tensor) -> Tensor:
    """(2, P, C) float32, P programs."""
    programs = min(PROGRAMS, -(-_rows(x) // _tile(x.shape[1])))
    return x.new_empty((2, programs, x.shape[1]), dtype=torch.float32)


def _sums(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    partial, channels = _partial(x), x.shape[1]
    kernels.sums[(partial.shape[1],)](
        x, norm.running_mean, partial, _rows(x), channels, _tile(channels)
    )
    return partial


def _add_and_sum(
    skip: Tensor, branch: Tensor, bias: Tensor, norm: nn.BatchNorm2d
) -> tuple[Tensor, Tensor]:
    out, partial, channels = torch.empty_like(branch), _partial(branch), branch.shape[1]
    kernels.add_and_sum[(partial.shape[1],)](
        skip, branch, bias, out, norm.running_mean, partial, _rows(branch), channels,
        _tile(channels),
    )  # fmt: skip
    return out, partial


def _statistics(partial: Tensor, norm: nn.BatchNorm2d, bias: Tensor | None, x: Tensor) -> Tensor:
    """(4, C) float32, see `kernels.batch_statistics`; moves the running ones."""
    channels = norm.num_features
    numbers = partial.new_empty((4, channels))
    kernels.batch_statistics[(channels // PART,)](
        partial, norm.running_mean, numbers if bias is None else bias, norm.weight, norm.bias,
        norm.running_mean, norm.running_var, numbers,
        partial.shape[1], _rows(x), norm.momentum, norm.eps, channels, CHUNK, PART,
        bias is not None,
    )  # fmt: skip
    return numbers


def _normalised(x: Tensor, numbers: Tensor, pad: int) -> Tensor:
    count, channels, height, width = x.shape
    out = _images(x, (count, channels, height + pad, width + pad))
    rows, tile = _rows(out), _tile(channels)
    kernels.normalise[(-(-rows // tile),)](
        x, numbers, out, rows, height, width, channels, tile, pad, SLOPE
    )
    return out


def _through_norm(
    gradient: _Gradient, x: Tensor, numbers: Tensor, skip: Tensor | None = None, pad: int = 0
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Gradients of a batch norm's input, with `skip` added, and of its weight and bias."""
    _, channels, height, width = x.shape
    rows, tile, partial = _rows(x), _tile(channels), gradient.partial
    tensor = _last(gradient.tensor)
    if partial is None:
        partial = _partial(x)
        kernels.gradient_sums[(partial.shape[1],)](
            tensor, x, numbers, partial, rows, height, width, channels, tile, pad, SLOPE
        )
    found = numbers.new_empty((4, channels))  # of weight and bias, and two factors
    kernels.batch_gradients[(channels // PART,)](
        partial, numbers, found[0], found[1], found[2:], partial.shape[1], rows, channels,
        CHUNK, PART,
    )  # fmt: skip
    out = torch.empty_like(x)
    kernels.gradient_of_input[(-(-rows // tile),)](
        tensor, x, numbers, found[2:], x if skip is None else skip, out, rows, height, width,
        channels, tile, pad, SLOPE, skip is not None, gradient.partial is not None,
    )  # fmt: skip
    return out, (found[0], found[1])
