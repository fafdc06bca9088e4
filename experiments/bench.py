"""How fast is a training step, where does its time go, and how far is it from what is possible?"""

import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fmsel.artefacts import versions
from fmsel.datasets import WeakAugment
from fmsel.errors import DeviceError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run.inputs import Inputs
from fmsel.fixmatch.run.session import Session
from fmsel.training.engine.device import (
    Execution,
    Precision,
    configure_backends,
    device_name,
    resolve_device,
    resolve_execution,
    resolve_precision,
)
from fmsel.training.networks.build import build_network

WARM_UP = 6  # steps before the clock: kernels are chosen, a CUDA graph is recorded
IMAGES, CLASSES, LABELLED, SIDE = 10_000, 10, 250, 32  # random images, as large as CIFAR-10's
MATMUL_SIDE = {"cuda": 8192, "cpu": 2048}
COPIED = {"cuda": 2**28, "cpu": 2**24}  # floats
Clock = Callable[[], float]


def bench_train(
    config: FixMatchConfig,
    *,
    steps: int,
    device: str = "auto",
    precision: str = "auto",
    execution: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Time training steps on random images of CIFAR-10's size.

    Args:
        config: the recipe; its `steps` and `eval_every` do not matter here.
        steps: measured steps, at least 1, after `WARM_UP` others.
        device, precision, execution: as for `fmsel train`; device cpu or cuda.
        say: told what is being measured.
    Returns:
        JSON-able: steps a second and its spread, milliseconds a part, peak memory, and what the
        device could do at best (see `roofline`).
    Raises:
        DeviceError: a device that cannot be used, or is neither a CPU nor a CUDA GPU.
    """
    target = resolve_device(device)
    if target.type not in MATMUL_SIDE:
        raise DeviceError(f"the device {device!r} cannot be measured; use cpu or cuda")
    chosen = resolve_precision(precision, target)
    mode = resolve_execution(execution, target)
    configure_backends(target, deterministic=False)
    clock = _clock(target)
    say(f"{config.arch}, batch {config.batch}, mu {config.mu}, {chosen}, {mode}: {steps} steps")
    if target.type == "cuda":
        torch.cuda.reset_peak_memory_stats(target)
    session = make_session(config, target, chosen, mode)
    each = _timed_steps(session, steps, clock)
    memory = _peak_memory(target)
    say("parts of a step")
    parts = _parts(make_session(config, target, chosen, "eager"), min(steps, 10), clock)
    say("what the device could do")
    best = roofline(config, target, chosen)
    rate = len(each) / sum(each)
    return {
        "device": device_name(target),
        "precision": chosen,
        "mode": mode,
        "arch": config.arch,
        "batch": config.batch,
        "mu": config.mu,
        "augment": config.augment,
        "rule": config.rule,
        "steps": steps,
        "it_per_s": rate,
        "step_ms_median": 1000 * statistics.median(each),
        "step_ms_min": 1000 * min(each),
        "step_ms_max": 1000 * max(each),
        "parts_ms_eager": parts,
        "peak_memory_bytes": memory,
        "roofline": {**best, "share": rate / best["it_per_s"]},
        "versions": versions("torch"),
    }


def roofline(config: FixMatchConfig, device: torch.device, precision: Precision) -> dict[str, Any]:
    """The least time a step could take on this device, by arithmetic and by memory traffic.

    Arithmetic is counted by torch and set against a large matrix product measured here. Traffic is
    what convolutions must move if all else were fused into them: input and output once forward and
    twice backward; it is set against a large copy measured here.
    """
    side = SIDE
    model = build_network(
        config.arch, n_classes=CLASSES, image_side=side, bn_momentum=0.1, seed=0
    ).to(device)
    images = torch.zeros(8, 3, side, side, device=device)
    counter = FlopCounterMode(display=False)
    moved = _traffic(model, images)
    with counter:
        model(images).sum().backward()
    scale = config.batch * (1 + 2 * config.mu) / len(images)
    flops, size = counter.get_total_flops() * scale, 2 if precision == "bf16" else 4
    peak, bandwidth = matmul_flops(device, precision), copy_bandwidth(device)
    arithmetic, memory = flops / peak, moved * scale * size * 3 / bandwidth
    return {
        "flop_per_step": flops,
        "measured_matmul_flop_per_s": peak,
        "measured_copy_bytes_per_s": bandwidth,
        "arithmetic_ms": 1000 * arithmetic,
        "memory_ms": 1000 * memory,
        "it_per_s": 1 / max(arithmetic, memory),
    }


def matmul_flops(device: torch.device, precision: Precision) -> float:
    """Operations a second of a large square matrix product."""
    n = MATMUL_SIDE[device.type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.randn(2, n, n, device=device, dtype=dtype)
    return 2 * n**3 / _best_of(lambda: a @ b, device)


def copy_bandwidth(device: torch.device) -> float:
    """Bytes read and written a second by a large copy."""
    source = torch.zeros(COPIED[device.type], device=device)
    target = torch.empty_like(source)
    return 2 * 4 * len(source) / _best_of(lambda: target.copy_(source), device)


def _best_of(work: Callable[[], object], device: torch.device, times: int = 5) -> float:
    clock, seconds = _clock(device), []
    for _ in range(times):
        start = clock()
        work()
        seconds.append(clock() - start)
    return min(seconds)


def _traffic(model: nn.Module, images: Tensor) -> int:
    """Numbers that the convolutions read and write in one forward pass of `images`."""
    moved: list[int] = []

    def count(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        moved.append(inputs[0].numel() + output.numel())

    hooks = [
        each.register_forward_hook(count) for each in model.modules() if isinstance(each, nn.Conv2d)
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return sum(moved)


def make_session(
    config: FixMatchConfig, device: torch.device, precision: Precision, execution: Execution
) -> Session:
    """A run on random images with random labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, 3, SIDE, SIDE)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)
    labels = torch.randint(0, CLASSES, (IMAGES,), generator=generator).to(device)
    inputs = Inputs(
        images=images,
        truth=labels,
        chosen=torch.arange(LABELLED, device=device),
        labels=labels[:LABELLED],
        test_images=images[:0],
        test_labels=labels[:0],
        n_classes=CLASSES,
    )
    return Session(
        inputs,
        WeakAugment(flip=True, shift=4),
        config,
        seed=0,
        supervised_only=False,
        precision=precision,
        execution=execution,
    )


def _timed_steps(session: Session, steps: int, clock: Clock) -> list[float]:
    """Seconds of each step; on a GPU of blocks of steps, since waiting after each would slow it."""
    for _ in range(WARM_UP):
        session.advance()
    block = 1 if session.inputs.images.device.type == "cpu" else max(1, steps // 10)
    seconds = []
    for _ in range(max(1, steps // block)):
        start = clock()
        for _ in range(block):
            session.advance()
        seconds.append((clock() - start) / block)
    return seconds


def _parts(session: Session, steps: int, clock: Clock) -> dict[str, float]:
    """Mean milliseconds a part, with a wait for the device after each."""
    spent: dict[str, float] = defaultdict(float)
    last = [clock()]

    def part_done(part: str) -> None:
        now = clock()
        spent[part] += now - last[0]
        last[0] = now

    session.learner.part_done = part_done
    device = session.inputs.images.device
    assert session.unlabelled is not None
    for step in range(-1, steps):
        if step == 0:
            spent.clear()  # the first step chose kernels
        last[0] = clock()
        flat = session.draws_on_device(session.step)
        part_done("draw")
        for batches in (session.labelled, session.unlabelled):
            _ = batches.images[batches.sampler(session.step).to(device)]
        part_done("load")
        labelled, unlabelled = session.batch(flat)
        part_done("augment")
        session.learner.step(session.step, labelled, unlabelled)
        session.step += 1
    spent["augment"] -= spent["load"]  # making a batch loads it again
    return {part: 1000 * seconds / steps for part, seconds in spent.items()}


def _clock(device: torch.device) -> Clock:
    """Seconds, once the device has done all it was given."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def _peak_memory(device: torch.device) -> int:
    """Bytes: reserved on a GPU, graphs included, or resident of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
