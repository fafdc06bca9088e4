# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
"""Triton kernels of a wide residual network in training: what lies between its convolutions.

Images are rows: a channels_last (N, C, H, W) tensor is (M, C) with M = N H W. Sums are float32, of
differences from a `centre` near the mean, so that they lose no digits, and in a fixed order: equal
inputs give equal bits. Channels are powers of two, 16 or more.
"""

import triton
import triton.language as tl


@triton.jit
def _centred_sums(value, centre, keep):
    centred = tl.where(keep, value - centre, 0.0)
    return centred, centred * centred


@triton.jit
def sums(x, centre, partial, rows, C: tl.constexpr, BLOCK: tl.constexpr):
    """partial (2, P, C): sums of x - centre and of its square; P programs."""
    column = tl.arange(0, C)[None, :]
    middle = tl.load(centre + column)
    first = tl.zeros((BLOCK, C), tl.float32)
    second = tl.zeros((BLOCK, C), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(rows, BLOCK), tl.num_programs(0)):
        row = tile * BLOCK + tl.arange(0, BLOCK)[:, None]
        keep = row < rows
        value = tl.load(x + row * C + column, keep, 0.0).to(tl.float32)
        one, two = _centred_sums(value, middle, keep)
        first += one
        second += two
    _store_sums(partial, tl.sum(first, 0), tl.sum(second, 0), C)


@triton.jit
def _store_sums(partial, first, second, C: tl.constexpr):
    place = partial + tl.program_id(0) * C + tl.arange(0, C)
    tl.store(place, first)
    tl.store(place + tl.num_programs(0) * C, second)


@triton.jit
def _whole_sums(
    partial, column, programs, C: tl.constexpr, CHUNK: tl.constexpr, PART: tl.constexpr
):
    """(PART,) each: both sums over all programs."""
    first = tl.zeros((CHUNK, PART), tl.float32)
    second = tl.zeros((CHUNK, PART), tl.float32)
    for start in range(0, programs, CHUNK):
        program = start + tl.arange(0, CHUNK)[:, None]
        keep = program < programs
        place = partial + program * C + column[None, :]
        first += tl.load(place, keep, 0.0)
        second += tl.load(place + programs * C, keep, 0.0)
    return tl.sum(first, 0), tl.sum(second, 0)


@triton.jit
def batch_statistics(
    partial, centre, bias, weight, offset, running_mean, running_var, numbers,
    programs, rows, momentum, epsilon,
    C: tl.constexpr, CHUNK: tl.constexpr, PART: tl.constexpr, BIAS: tl.constexpr,
):  # fmt: skip
    """numbers (4, C): mean, 1 / std, scale and shift of batch norm; the running ones follow.

    With BIAS, `bias` was left out of x: it moves the running mean alone.
    """
    column = tl.program_id(0) * PART + tl.arange(0, PART)
    first, second = _whole_sums(partial, column, programs, C, CHUNK, PART)
    middle = tl.load(centre + column)
    apart = first / rows
    mean = middle + apart
    variance = tl.maximum(second / rows - apart * apart, 0.0)
    inverse = 1.0 / tl.sqrt(variance + epsilon)
    scale = tl.load(weight + column) * inverse
    tl.store(numbers + column, mean)
    tl.store(numbers + C + column, inverse)
    tl.store(numbers + 2 * C + column, scale)
    tl.store(numbers + 3 * C + column, tl.load(offset + column) - mean * scale)
    old_mean, old_var = tl.load(running_mean + column), tl.load(running_var + column)
    new_mean = mean
    if BIAS:
        new_mean += tl.load(bias + column)
    unbiased = variance * (rows / (rows - 1.0))
    tl.store(running_mean + column, old_mean + momentum * (new_mean - old_mean))
    tl.store(running_var + column, old_var + momentum * (unbiased - old_var))


@triton.jit
def _inner(padded_row, H, W, PAD: tl.constexpr):
    """(row of the image without PAD rows and columns at its end, whether there is one)."""
    image = padded_row // ((H + PAD) * (W + PAD))
    down = padded_row // (W + PAD) % (H + PAD)
    right = padded_row % (W + PAD)
    return (image * H + down) * W + right, (down < H) & (right < W)


@triton.jit
def normalise(
    x, numbers, out, rows, H, W,
    C: tl.constexpr, BLOCK: tl.constexpr, PAD: tl.constexpr, SLOPE: tl.constexpr,
):  # fmt: skip
    """out = leaky_relu(batch norm of x), with PAD rows and columns of 0 at the end; rows of out."""
    column = tl.arange(0, C)[None, :]
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[:, None]
    keep = row < rows
    source, inside = row, keep
    if PAD > 0:
        source, inside = _inner(row, H, W, PAD)
        inside = inside & keep
    value = tl.load(x + source * C + column, inside, 0.0).to(tl.float32)
    value = value * tl.load(numbers + 2 * C + column) + tl.load(numbers + 3 * C + column)
    value = tl.where(value > 0, value, value * SLOPE)
    if PAD > 0:
        value = tl.where(inside, value, 0.0)
    tl.store(out + row * C + column, value.to(out.dtype.element_ty), keep)


@triton.jit
def add_and_sum(
    skip, branch, bias, out, centre, partial, rows, C: tl.constexpr, BLOCK: tl.constexpr
):
    """out = skip + branch + bias, and its `sums`."""
    column = tl.arange(0, C)[None, :]
    added, middle = tl.load(bias + column), tl.load(centre + column)
    first = tl.zeros((BLOCK, C), tl.float32)
    second = tl.zeros((BLOCK, C), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(rows, BLOCK), tl.num_programs(0)):
        row = tile * BLOCK + tl.arange(0, BLOCK)[:, None]
        keep = row < rows
        place = row * C + column
        value = tl.load(skip + place, keep, 0.0).to(tl.float32)
        value += tl.load(branch + place, keep, 0.0).to(tl.float32)
        rounded = (value + added).to(out.dtype.element_ty)
        tl.store(out + place, rounded, keep)
        one, two = _centred_sums(rounded.to(tl.float32), middle, keep)
        first += one
        second += two
    _store_sums(partial, tl.sum(first, 0), tl.sum(second, 0), C)


@triton.jit
def _through_activation(gradient, value, numbers, column, C: tl.constexpr, SLOPE: tl.constexpr):
    """The gradient before leaky_relu, from that after it."""
    before = value * tl.load(numbers + 2 * C + column) + tl.load(numbers + 3 * C + column)
    return tl.where(before > 0, gradient, gradient * SLOPE)


@triton.jit
def gradient_sums(
    gradient, x, numbers, partial, rows, H, W,
    C: tl.constexpr, BLOCK: tl.constexpr, PAD: tl.constexpr, SLOPE: tl.constexpr,
):  # fmt: skip
    """partial (2, P, C): sums of g and of g * normalised x; g = `gradient` before leaky_relu."""
    column = tl.arange(0, C)[None, :]
    mean, inverse = tl.load(numbers + column), tl.load(numbers + C + column)
    first = tl.zeros((BLOCK, C), tl.float32)
    second = tl.zeros((BLOCK, C), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(rows, BLOCK), tl.num_programs(0)):
        row = tile * BLOCK + tl.arange(0, BLOCK)[:, None]
        keep = row < rows
        source = row
        if PAD > 0:
            source = (row // (H * W) * (H + PAD) + row // W % H) * (W + PAD) + row % W
        value = tl.load(x + row * C + column, keep, 0.0).to(tl.float32)
        g = tl.load(gradient + source * C + column, keep, 0.0).to(tl.float32)
        g = _through_activation(g, value, numbers, column, C, SLOPE)
        first += g
        second += g * ((value - mean) * inverse)
    _store_sums(partial, tl.sum(first, 0), tl.sum(second, 0), C)


@triton.jit
def batch_gradients(
    partial, numbers, to_weight, to_offset, factors, programs, rows,
    C: tl.constexpr, CHUNK: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """Gradients of batch norm's weight and offset; factors (2, C) of x - mean and of 1 in x's."""
    column = tl.program_id(0) * PART + tl.arange(0, PART)
    first, second = _whole_sums(partial, column, programs, C, CHUNK, PART)
    tl.store(to_offset + column, first)
    tl.store(to_weight + column, second)
    scale, inverse = tl.load(numbers + 2 * C + column), tl.load(numbers + C + column)
    tl.store(factors + column, -scale * inverse * (second / rows))
    tl.store(factors + C + column, -scale * (first / rows))


@triton.jit
def gradient_of_input(
    gradient, x, numbers, factors, skip, out, rows, H, W,
    C: tl.constexpr, BLOCK: tl.constexpr, PAD: tl.constexpr, SLOPE: tl.constexpr,
    ADD: tl.constexpr, CARRIED: tl.constexpr,
):  # fmt: skip
    """out = the gradient of x through leaky_relu and batch norm, and `skip` with ADD.

    CARRIED: `gradient` is that before leaky_relu already.
    """
    column = tl.arange(0, C)[None, :]
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[:, None]
    keep = row < rows
    source = row
    if PAD > 0:
        source = (row // (H * W) * (H + PAD) + row // W % H) * (W + PAD) + row % W
    place = row * C + column
    value = tl.load(x + place, keep, 0.0).to(tl.float32)
    g = tl.load(gradient + source * C + column, keep, 0.0).to(tl.float32)
    if not CARRIED:
        g = _through_activation(g, value, numbers, column, C, SLOPE)
    result = g * tl.load(numbers + 2 * C + column)
    result += (value - tl.load(numbers + column)) * tl.load(factors + column)
    result += tl.load(factors + C + column)
    if ADD:
        result += tl.load(skip + place, keep, 0.0).to(tl.float32)
    tl.store(out + place, result.to(out.dtype.element_ty), keep)


@triton.jit
def pair_weights(
    source, ahead, back, inputs,
    IN: tl.constexpr, OUT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A (OUT, inputs, 3, 3) channels_last kernel, as `convolve` takes it: ahead, and back.

    ahead (3, 4 IN, 2 OUT): of each kernel row, what four neighbouring pixels add to the two in
    their middle; back (3, 4 OUT, 2 IN): the same of the gradient's convolution. Channels from
    `inputs` on are 0.
    """
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    size: tl.constexpr = 24 * IN * OUT
    o, two = place % OUT, place // OUT % 2
    i, four = place // (2 * OUT) % IN, place // (2 * OUT * IN) % 4
    row, tap = place // (8 * OUT * IN), four - two
    there = (place < size) & (tap >= 0) & (tap < 3) & (i < inputs)
    value = tl.load(source + (o * 9 + row * 3 + tap) * inputs + i, there, 0.0)
    tl.store(ahead + place, value.to(ahead.dtype.element_ty), place < size)
    i, two = place % IN, place // IN % 2
    o, four = place // (2 * IN) % OUT, place // (2 * IN * OUT) % 4
    tap = 2 - (four - two)
    there = (place < size) & (tap >= 0) & (tap < 3) & (i < inputs)
    value = tl.load(source + (o * 9 + (2 - row) * 3 + tap) * inputs + i, there, 0.0)
    tl.store(back + place, value.to(back.dtype.element_ty), place < size)


@triton.jit
def convolve(
    x, weight, out, pairs, H, W, skip, bias, centre, partial, value, numbers,
    IN: tl.constexpr, OUT: tl.constexpr, BLOCK: tl.constexpr, SUM: tl.constexpr,
    ADD: tl.constexpr, BACK: tl.constexpr, SLOPE: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """out = 3 x 3 convolution of x, stride 1, padding 1, two neighbouring pixels at a time.

    Few channels make small products; two pixels side by side make them four times as large, at a
    third more arithmetic, and read each input six times in place of nine. W is a row's pairs.
    Then one of: SUM: its `sums`, with ADD as `add_and_sum`; BACK: out is carried through the
    leaky_relu before `value`, a raw input of batch norm, and partial is as in `gradient_sums`.
    """
    lane, half = tl.arange(0, 2 * OUT)[None, :], tl.arange(0, 2 * IN)[None, :]
    column = lane % OUT
    kernel = weight + tl.arange(0, 2 * IN)[:, None] * (2 * OUT) + lane
    first = tl.zeros((2 * OUT,), tl.float32)
    second = tl.zeros((2 * OUT,), tl.float32)
    tiles = tl.cdiv(pairs, BLOCK)
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), num_stages=1):
        pair = tile * BLOCK + tl.arange(0, BLOCK)[:, None]
        keep = pair < pairs
        down, right = pair // W % H, pair % W
        total = tl.zeros((BLOCK, 2 * OUT), tl.float32)
        for part in tl.range(6, num_stages=STAGES):  # kernel rows, left and right half
            row, side = part // 2 - 1, part % 2
            border = tl.where(side == 0, (half >= IN) | (right > 0), (half < IN) | (right < W - 1))
            inside = keep & (down + row >= 0) & (down + row < H) & border
            start = (pair + row * W) * (2 * IN) + (2 * side - 1) * IN
            pixels = tl.load(x + start + half, inside, 0.0)
            weights = tl.load(kernel + part * (4 * IN * OUT))
            total = tl.dot(pixels, weights, total, input_precision="ieee")
        place = pair * (2 * OUT) + lane
        if ADD:
            total += tl.load(skip + place, keep, 0.0).to(tl.float32) + tl.load(bias + column)
        if BACK:
            raw = tl.load(value + place, keep, 0.0).to(tl.float32)
            total = _through_activation(total, raw, numbers, column, OUT, SLOPE)
        rounded = total.to(out.dtype.element_ty)
        tl.store(out + place, rounded, keep)
        if SUM:
            one, two = _centred_sums(rounded.to(tl.float32), tl.load(centre + column), keep)
            first += tl.sum(one, 0)
            second += tl.sum(two, 0)
        if BACK:
            g = tl.where(keep, rounded.to(tl.float32), 0.0)
            far = raw - tl.load(numbers + column)
            first += tl.sum(g, 0)
            second += tl.sum(g * (far * tl.load(numbers + OUT + column)), 0)
    if SUM or BACK:
        first = tl.sum(tl.reshape(first, (2, OUT)), 0)
        second = tl.sum(tl.reshape(second, (2, OUT)), 0)
        _store_sums(partial, first, second, OUT)


@triton.jit
def _tap_gradient(total, tap: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr):
    """(4 IN, 2 OUT) sums of four pixels and two -> (IN, OUT) of one tap."""
    four = tl.arange(0, 4)[:, None, None, None]
    two = tl.arange(0, 2)[None, None, :, None]
    mine = tl.where(four - two == tap, tl.reshape(total, (4, IN, 2, OUT)), 0.0)
    return tl.sum(tl.sum(mine, 2), 0)


@triton.jit
def weight_gradient(
    x, gradient, partial, pairs, H, W,
    IN: tl.constexpr, OUT: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """partial (P, 9, IN, OUT): the gradient of `convolve`'s taps, a part of the pairs each."""
    lane, wide = tl.arange(0, 2 * OUT)[None, :], tl.arange(0, 4 * IN)[None, :]
    upper = tl.zeros((4 * IN, 2 * OUT), tl.float32)
    middle = tl.zeros((4 * IN, 2 * OUT), tl.float32)
    lower = tl.zeros((4 * IN, 2 * OUT), tl.float32)
    tiles = tl.cdiv(pairs, BLOCK)
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), num_stages=STAGES):
        pair = tile * BLOCK + tl.arange(0, BLOCK)[:, None]
        keep = pair < pairs
        down, right = pair // W % H, pair % W
        inside = keep & ((wide >= IN) | (right > 0)) & ((wide < 3 * IN) | (right < W - 1))
        start = x + pair * (2 * IN) - IN + wide
        g = tl.load(gradient + pair * (2 * OUT) + lane, keep, 0.0)
        above = tl.load(start - W * (2 * IN), inside & (down > 0), 0.0)
        upper = tl.dot(tl.trans(above), g, upper, input_precision="ieee")
        here = tl.load(start, inside, 0.0)
        middle = tl.dot(tl.trans(here), g, middle, input_precision="ieee")
        below = tl.load(start + W * (2 * IN), inside & (down < H - 1), 0.0)
        lower = tl.dot(tl.trans(below), g, lower, input_precision="ieee")
    place = partial + tl.program_id(0) * (9 * IN * OUT)
    place += tl.arange(0, IN)[:, None] * OUT + tl.arange(0, OUT)[None, :]
    for tap in tl.static_range(3):
        tl.store(place + tap * (IN * OUT), _tap_gradient(upper, tap, IN, OUT))
        tl.store(place + (3 + tap) * (IN * OUT), _tap_gradient(middle, tap, IN, OUT))
        tl.store(place + (6 + tap) * (IN * OUT), _tap_gradient(lower, tap, IN, OUT))


@triton.jit
def whole_weight_gradient(
    partial, out, programs, inputs,
    IN: tl.constexpr, OUT: tl.constexpr, CHUNK: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """Sums of `weight_gradient` over its programs -> (OUT, inputs, 3, 3) channels_last."""
    place = tl.program_id(0) * PART + tl.arange(0, PART)
    total = tl.zeros((CHUNK, PART), tl.float32)
    for start in range(0, programs, CHUNK):
        program = start + tl.arange(0, CHUNK)[:, None]
        keep = program < programs
        total += tl.load(partial + program * (9 * IN * OUT) + place[None, :], keep, 0.0)
    o, i, tap = place % OUT, place // OUT % IN, place // (OUT * IN)
    tl.store(out + (o * 9 + tap) * inputs + i, tl.sum(total, 0), i < inputs)
