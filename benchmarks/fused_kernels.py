"""Are the fused network's own convolutions quicker than cuDNN's, and in which shape of tiles?

    python benchmarks/fused_kernels.py --out FILE [--images 960]

Times `convolve` and `weight_gradient` of fmsel.training.networks.kernels on the first stage of
WRN-28-2 (32 channels, 32 x 32 pixels) for several tiles beside cuDNN's convolutions, and the passes
that sum for several numbers of programs; then whole steps with both convolutions, the kernels in
their quickest shape. The quickest belong into fmsel/training/networks/fused.py, and `NARROW` = 32
if the steps are quicker.
"""

import argparse
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from triton.runtime.errors import OutOfResources

from fmsel.artefacts import versions, write_json
from fmsel.experiments.bench import WARM_UP, make_session
from fmsel.fixmatch.presets import PAPER
from fmsel.training.engine.device import configure_backends, device_name, resolve_device
from fmsel.training.networks import fused, kernels

SIDE, WIDTH = 32, 32
TILES = [  # pairs, stages, warps
    (64, 1, 4),
    (64, 3, 4),
    (128, 1, 8),
    (128, 3, 8),
    (64, 2, 4),
    (128, 1, 4),
    (32, 3, 4),
]
WEIGHT_TILES = [(64, 1, 8), (64, 3, 8), (64, 2, 8), (32, 1, 8), (32, 3, 8), (128, 1, 8)]
PROGRAMS, WEIGHT_PROGRAMS = (396, 528, 1056), (132, 264, 528)
SUMMING = (264, 396, 528, 1056)  # programs
CALLS = 10  # in a recording, so that launching costs nothing
STEPS = 150


def microseconds(work: Callable[[], object]) -> float:
    """Of one call, in a replayed recording of `CALLS`."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        work()
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(CALLS):
            work()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    graph.replay()
    torch.cuda.synchronize()
    start.record()  # type: ignore[no-untyped-call]
    graph.replay()
    graph.replay()
    end.record()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    milliseconds: float = start.elapsed_time(end)  # type: ignore[no-untyped-call]
    return 1000 * milliseconds / (2 * CALLS)


def noise(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.randn(*shape, device="cuda").to(dtype)


def images(count: int) -> Tensor:
    return noise(count, WIDTH, SIDE, SIDE).contiguous(memory_format=torch.channels_last)


def attempt(work: Callable[[], object]) -> float:
    """Microseconds; infinitely many where such a tile does not fit the GPU."""
    try:
        return microseconds(work)
    except OutOfResources:
        return inf


def sweep(count: int) -> dict[str, Any]:
    """Microseconds of every tile; the quickest of each kernel is put into `fused`."""
    x, skip, raw, out = (images(count) for _ in range(4))
    weight, sums = noise(3 * 4 * WIDTH * 2 * WIDTH), noise(2 * 2048 * WIDTH, dtype=torch.float32)
    zeros, numbers = torch.zeros(WIDTH, device="cuda"), torch.rand(4, WIDTH, device="cuda") + 0.5
    parts = noise(max(WEIGHT_PROGRAMS) * 9 * WIDTH * WIDTH, dtype=torch.float32)
    pairs, half = count * SIDE * SIDE // 2, SIDE // 2

    def convolve(back: bool, tile: tuple[int, int, int], programs: int) -> None:
        block, stages, warps = tile
        kernels.convolve[(programs,)](
            x, weight, out, pairs, SIDE, half, skip, zeros, zeros, sums, raw, numbers,
            WIDTH, WIDTH, block, not back, not back, back, 0.1, stages, num_warps=warps,
        )  # fmt: skip

    def of_weight(tile: tuple[int, int, int], programs: int) -> None:
        block, stages, warps = tile
        kernels.weight_gradient[(programs,)](
            x, out, parts, pairs, SIDE, half, WIDTH, WIDTH, block, stages, num_warps=warps
        )

    rows, tile = count * SIDE * SIDE, fused.ELEMENTS // WIDTH

    def add_and_sum(programs: int) -> None:
        kernels.add_and_sum[(programs,)](skip, raw, zeros, out, zeros, sums, rows, WIDTH, tile)

    def gradient_sums(programs: int) -> None:
        kernels.gradient_sums[(programs,)](
            skip, raw, numbers, sums, rows, SIDE, SIDE, WIDTH, tile, 0, 0.1
        )

    found: dict[str, Any] = {"convolve": {}, "weight_gradient": {}, "sums": {}}
    for programs in SUMMING:
        both = [
            microseconds(lambda w=work, p=programs: w(p))  # type: ignore[misc]
            for work in (add_and_sum, gradient_sums)
        ]
        found["sums"][f"{programs}"] = both
        print(f"sums {programs}: add_and_sum {both[0]:.1f}, gradient_sums {both[1]:.1f} us")
    fused.PROGRAMS = min(SUMMING, key=lambda programs: sum(found["sums"][f"{programs}"]))
    for tile in TILES:
        for programs in PROGRAMS:
            both = [
                attempt(lambda b=b, t=tile, p=programs: convolve(b, t, p))  # type: ignore[misc]
                for b in (False, True)
            ]
            if inf not in both:
                found["convolve"][f"{tile} {programs}"] = both
            print(f"convolve {tile} {programs}: ahead {both[0]:.1f}, back {both[1]:.1f} us")
    for tile in WEIGHT_TILES:
        for programs in WEIGHT_PROGRAMS:
            us = attempt(lambda t=tile, p=programs: of_weight(t, p))  # type: ignore[misc]
            if us < inf:
                found["weight_gradient"][f"{tile} {programs}"] = us
            print(f"weight_gradient {tile} {programs}: {us:.1f} us", flush=True)
    best = min(found["convolve"], key=lambda name: sum(found["convolve"][name]))
    fused.PAIRS, fused.STAGES, fused.WARPS, fused.CONVOLUTIONS = _numbers(best)
    best = min(found["weight_gradient"], key=lambda name: found["weight_gradient"][name])
    (
        fused.WEIGHT_PAIRS,
        fused.WEIGHT_STAGES,
        fused.WEIGHT_WARPS,
        fused.WEIGHT_PROGRAMS,
    ) = _numbers(best)
    found["cudnn"] = cudnn(x, skip)
    return found


def _numbers(name: str) -> list[int]:
    return [int(each) for each in name.replace("(", "").replace(")", "").replace(",", "").split()]


def cudnn(x: Tensor, gradient: Tensor) -> dict[str, float]:
    """Microseconds of a convolution and of each half of its gradient.

    Of the weight's also on pairs of pixels: twice the channels, in which cuDNN is quicker, at four
    times the products, of which the quarters that are its gradient would be added up.
    """
    weight, wide = (
        noise(width, width, 3, 3).contiguous(memory_format=torch.channels_last)
        for width in (WIDTH, 2 * WIDTH)
    )

    def back(images: Tensor, of: Tensor, kernel: Tensor, mask: tuple[bool, bool, bool]) -> None:
        torch.ops.aten.convolution_backward(
            of, images, kernel, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask
        )

    def in_pairs(images: Tensor) -> Tensor:
        rows = images.permute(0, 2, 3, 1).view(len(images), SIDE, SIDE // 2, 2 * WIDTH)
        return rows.permute(0, 3, 1, 2)

    only_weight = (False, True, False)
    found = {
        "ahead": microseconds(lambda: F.conv2d(x, weight, padding=1)),
        "back": microseconds(lambda: back(x, gradient, weight, (True, False, False))),
        "weight": microseconds(lambda: back(x, gradient, weight, only_weight)),
        "weight, in pairs": microseconds(
            lambda: back(in_pairs(x), in_pairs(gradient), wide, only_weight)
        ),
    }
    print("cuDNN", {name: round(us, 1) for name, us in found.items()})
    return found


def steps_a_second(narrow: int) -> float:
    session = make_session(PAPER, torch.device("cuda"), "bf16", "fused")
    session.learner.forward = fused.fused(session.learner.model, narrow)
    for _ in range(WARM_UP + 1):
        session.advance()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()  # type: ignore[no-untyped-call]
    for _ in range(STEPS):
        session.advance()
    end.record()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    milliseconds: float = start.elapsed_time(end)  # type: ignore[no-untyped-call]
    return 1000 * STEPS / milliseconds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=960)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("error: there is no CUDA device, and a CPU runs no such kernels", file=sys.stderr)
        return 2
    device = resolve_device("cuda")
    configure_backends(device, deterministic=False)
    figures: dict[str, Any] = {"device": device_name(device), "versions": versions("torch")}
    figures |= sweep(args.images)
    figures["it_per_s"] = {"cudnn": steps_a_second(0), "own": steps_a_second(WIDTH)}
    print(f"steps a second: {figures['it_per_s']}")
    write_json(args.out, figures, force=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
