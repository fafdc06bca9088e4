"""What two processes do that share the steps of a run; see its end.

They run this file, each as torchrun would.
"""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fmsel.cli.app import main
from fmsel.datasets import WeakAugment, load_dataset
from fmsel.errors import OptionError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run import evaluate
from fmsel.fixmatch.run.inputs import Inputs
from fmsel.fixmatch.run.session import Session
from fmsel.selection.split import Split
from fmsel.training.engine.distributed import (
    World,
    joined,
    with_global_batch_norm,
)

STEPS = 4
TINY = FixMatchConfig(
    arch="small-conv-4", steps=STEPS, batch=4, mu=2, threshold=0.6, ema_ramp=True, bn_momentum=0.1
)
CASES: dict[str, dict[str, Any]] = {
    "fixed": {},
    "interleave": {"interleave": True},
    "wide-resnet": {"arch": "wrn-28-1", "steps": 2},
    "adam": {"optimizer": "adam", "lr": 0.001},
    "freematch": {"rule": "freematch"},
    "flexmatch": {"rule": "flexmatch"},
    "softmatch": {"rule": "softmatch"},
    "adamatch": {"rule": "adamatch", "hard": False},
    "alignment": {"rule": "distribution_alignment", "prior": "labelled"},
    "ctaugment": {"augment": "ctaugment"},
    "supervised": {},
}
WORDS = [
    *("train", "--split", "four.json", "--preset", "smoke", "--device", "cpu", "--seed", "1"),
    *("--precision", "fp32", "--rule", "freematch", "--augment", "ctaugment"),
    *("--steps", "10", "--eval-every", "5"),
]
# One process imports torch, the others fork from it: quick, and as apart as any.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["fmsel.cli.app", "fmsel.experiments.replicates", "sklearn.datasets", "torch._dynamo"]
)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """What is float32 in a run becomes float64, so that only the order of sums differs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "float", Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def session_of(case: str, world: World, device: str = "cpu") -> Session:
    """On 43 random images of 3 classes, all of them tested on."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (43, 3, 8, 8), generator=generator, dtype=torch.uint8)
    images, labels = images.to(device), (torch.arange(43) % 3).to(device)
    inputs = Inputs(
        images=images,
        truth=labels,
        chosen=torch.arange(9, device=device),
        labels=labels[:9],
        test_images=images,
        test_labels=labels,
        n_classes=3,
    )
    session = Session(
        inputs,
        WeakAugment(flip=True, shift=1),
        dataclasses.replace(TINY, **CASES[case]),
        seed=0,
        supervised_only=case == "supervised",
        precision="fp32",
        world=world,
        keep_history=True,
    )
    frozen = torch.zeros((), dtype=torch.float32, device=device)  # fused kernels take no other
    session.learner.guard.frozen = session.meters.frozen = frozen
    session.learner.optimizer.found_inf = frozen  # type: ignore[attr-defined]
    return session


def course(case: str, world: World) -> dict[str, Any]:
    """All that a run of the case leaves behind, and its last evaluation."""
    with float64(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "BATCH", 7)  # of the last 1 of 43 images one process has none
        patch.setattr("fmsel.fixmatch.rules.freematch.FAIRNESS", 1.0)  # or it would hardly show
        session = session_of(case, world)
        while not session.done:
            session.advance()
        assert session.evaluate(lambda: False)
    row = session.rows[-1]
    tensors, _ = session.save()
    kept = ("ema_accuracy", "accuracy", "loss", "mask_rate", "pseudo_label_accuracy")
    return {**flat(tensors), **{key: row[key] for key in kept}}


def flat(tree: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {name: tree}
    parts = [flat(value, f"{name}/{key}") for key, value in tree.items()]
    return {key: value for part in parts for key, value in part.items()}


def norm_course(norm: nn.Module, world: World) -> list[Tensor]:
    """Outputs, gradients and running statistics of two steps of a batch norm, of all processes."""
    images = 3 + torch.randn(8, 5, 4, 3, generator=torch.Generator().manual_seed(1)).double()
    weights = torch.randn(8, 5, 4, 3, generator=torch.Generator().manual_seed(2)).double()
    mine = world.share(images).requires_grad_()
    model: nn.Module = nn.Sequential(norm).double()
    model = with_global_batch_norm(model) if world.size > 1 else model
    model(world.share(images.flip(1)).detach())
    out = world.whole(model(mine))
    (out * weights).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    world.add_up(gradients)
    assert mine.grad is not None
    return [out.detach(), world.whole(mine.grad), *gradients, *model.state_dict().values()]


def split_of_digits() -> Split:
    """Four of each class."""
    data = load_dataset("digits")
    return Split(
        dataset=data.name,
        source=data.source.as_dict(),
        n=len(data),
        images_sha256=data.images_sha256,
        labels_sha256=data.labels_sha256,
        strategy="imported",
        parameters={},
        seed=0,
        indices=np.concatenate([np.flatnonzero(data.labels == c)[:4] for c in range(10)]).tolist(),
        label_use="none",
        class_counts={},
    )


def command(out: str, *words: str, at: int = -1, happens: Any = None) -> int:
    """The exit code of `fmsel train`, in which `happens()` is called before step `at`."""
    advance = Session.advance

    def with_event(self: Session) -> None:
        if self.step == at:
            happens()
        advance(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "advance", with_event)
        return main([*WORDS, "--out", out, *words])


def stop_me() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def need_too_much() -> None:
    torch.empty(2**50, dtype=torch.uint8)


def be_one_of_two(folder: Path) -> None:
    """What each of the two processes does in `folder`."""
    torch.set_num_threads(1)
    os.chdir(folder)
    found: dict[str, Any] = {}
    second = os.environ["RANK"] == "1"
    with joined("cpu") as world:
        found["cases"] = {case: course(case, world) for case in CASES}
        found["norm"] = norm_course(nn.BatchNorm2d(5, momentum=0.3), world)
        found["frozen"] = first_bad_step(world)
        found["error"] = agreed_error(world)
    torch.save(found, f"{os.environ['RANK']}.pt")
    with Path(f"{os.environ['RANK']}.txt").open("w", buffering=1) as said:
        sys.stdout = sys.stderr = said
        codes = [
            command("pair"),
            command("pair"),  # is there already
            command("uneven", "--batch", "15"),
            command("alone-then-pair", "--resume"),
            command("pair-then-alone", at=3, happens=stop_me if second else list),
            command("lost", at=2, happens=need_too_much if second else list),
        ]
        print(json.dumps(codes))


def first_bad_step(world: World) -> tuple[int, bool]:
    """Of a run in which one process gets a nan at step 3, and whether any weight is nan."""
    session = session_of("fixed", world)
    forward = session.learner.forward
    if world.rank == 1:
        session.learner.forward = lambda x: forward(x) * (torch.nan if session.step == 2 else 1)
    for _ in range(4):
        session.advance()
    weights = session.learner.model.state_dict().values()
    return int(session.learner.guard.first_bad), any(bool(w.isnan().any()) for w in weights)


def agreed_error(world: World) -> str:
    """What process 0 raises where process 1 has bad input."""
    try:
        with world.agreed():
            if world.rank == 1:
                raise OptionError("process 1 does not like it")
    except OptionError as error:
        return str(error)
    return ""


def run_both(home: Path) -> None:
    """Two processes as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    code = (
        "import os, sys, runpy; os.environ.update({0}); sys.argv = [{1!r}, {2!r}]; "
        "runpy.run_path({1!r}, run_name='__main__')"
    )
    started = []
    for rank in "01":
        own = {**shared, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}
        own |= {"FMSEL_CACHE": str(home / "cache")}
        text = code.format(own, __file__, str(home))
        started.append(PROCESSES.Process(target=exec, args=(text, {}), daemon=True))
        started[-1].start()
    for each in started:
        each.join(120)
    assert [each.exitcode for each in started] == [0, 0]


def gpu_course(world: World) -> dict[str, Tensor]:
    session = session_of("freematch", world, "cuda")
    while not session.done:
        session.advance()
    return flat(session.save()[0]["learner"]["model"])


if __name__ == "__main__":
    if sys.argv[2:] == ["cuda"]:
        with joined("cuda") as both:
            torch.save(gpu_course(both), Path(sys.argv[1]) / f"{both.rank}.pt")
    else:
        be_one_of_two(Path(sys.argv[1]))
