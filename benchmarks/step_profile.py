"""Where the time of a training step goes on a GPU, in every mode, alone and side by side.

    python benchmarks/step_profile.py --out FOLDER [--modes eager,graph,fused,compile]
        [--steps 150] [--together 2,4] [--augment google-code] [--rule fixed]

The paper's recipe on random images of CIFAR-10's size. Writes FOLDER/rates.json, the steps a second
of each mode (`-inline`: batches made before their step, not beside the one before; `xN`: N runs in
turn, together), and FOLDER/<mode>.csv, the kernels of a step by their time.
"""

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from fmsel.artefacts import versions, write_json
from fmsel.experiments.bench import WARM_UP, make_session
from fmsel.fixmatch.presets import PAPER
from fmsel.fixmatch.run.session import Session
from fmsel.training.engine.device import (
    configure_backends,
    device_name,
    own_stream,
    resolve_device,
    resolve_execution,
)

PROFILED = 20  # steps
Scope = Callable[[], AbstractContextManager[object]]


def rate(sessions: Sequence[Session], steps: int, device: torch.device) -> float:
    """Steps a second of all together, one after another in turn."""
    scopes: list[Scope] = [own_stream(device) for _ in sessions]
    for step in range(WARM_UP + 1 + steps):
        if step == WARM_UP + 1:
            torch.cuda.synchronize()
            start = time.perf_counter()
        for session, scope in zip(sessions, scopes, strict=True):
            with scope():
                session.advance()
    torch.cuda.synchronize()
    return steps * len(sessions) / (time.perf_counter() - start)


def kernels(session: Session) -> list[tuple[str, float, float]]:
    """(name, launches a step, microseconds a step), the longest first."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(PROFILED):
            session.advance()
        torch.cuda.synchronize()
    spent, count = Counter[str](), Counter[str]()
    for event in seen.events():  # type: ignore[union-attr, no-untyped-call]
        if event.device_type == torch.autograd.DeviceType.CUDA:
            spent[event.name] += event.device_time_total
            count[event.name] += 1
    return [(name, count[name] / PROFILED, us / PROFILED) for name, us in spent.most_common()]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--modes", default="graph,fused,compile,eager")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--together", default="2,4")
    parser.add_argument("--augment", default=PAPER.augment)
    parser.add_argument("--rule", default=PAPER.rule)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("error: there is no CUDA device; on a CPU use `fmsel bench train`", file=sys.stderr)
        return 2
    device, config = resolve_device("cuda"), replace(PAPER, augment=args.augment, rule=args.rule)
    configure_backends(device, deterministic=False)
    args.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"device": device_name(device), "versions": versions("torch")}

    def said(name: str, value: float) -> None:
        figures[name] = value
        print(f"{name:16s} {value:7.1f} it/s", flush=True)
        write_json(args.out / "rates.json", figures, force=True)  # what there is, if cut off

    for mode in args.modes.split(","):
        execution = resolve_execution(mode, device)
        session = make_session(config, device, "bf16", execution)
        said(mode, rate([session], args.steps, device))
        with (args.out / f"{mode}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("kernel", "launches", "us"), *kernels(session)])
        if session.ahead is not None:
            session = make_session(config, device, "bf16", execution)
            session.ahead = None
            said(f"{mode}-inline", rate([session], args.steps, device))
        del session
        for count in map(int, args.together.split(",") if mode != "eager" else []):
            several = [make_session(config, device, "bf16", execution) for _ in range(count)]
            said(f"{mode}x{count}", rate(several, args.steps // 2, device))
            del several
    return 0


if __name__ == "__main__":
    sys.exit(main())
