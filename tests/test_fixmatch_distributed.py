"""Two processes train as one does: their steps in float64, and whole runs from the shell.

This file is also what the two processes run; see its end.
"""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fmsel.cli.app import main
from fmsel.datasets import WeakAugment, load_dataset
from fmsel.errors import DeviceError, OptionError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run import evaluate
from fmsel.fixmatch.run.inputs import Inputs
from fmsel.fixmatch.run.session import Session
from fmsel.selection.split import Split
from fmsel.training.engine.distributed import (
    ALONE,
    GlobalBatchNorm2d,
    World,
    joined,
    with_global_batch_norm,
)
from fmsel.training.engine.memory import memory_errors

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


# The tests.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where one process has trained, then two; the working folder meanwhile."""
    home = tmp_path_factory.mktemp("distributed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("FMSEL_CACHE", str(home / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        split_of_digits().save(home / "four.json")
        assert command("alone") == 0
        assert command("alone-then-pair", at=4, happens=stop_me) == 130
        run_both(home)
        yield home


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


@pytest.fixture(scope="module")
def pair(folder: Path) -> list[dict[str, Any]]:
    """What the two processes found."""
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("case", CASES)
def test_steps_of_two_processes_equal_those_of_one(case: str, pair: list[dict[str, Any]]) -> None:
    """Weights, momentum, average, states, meters and evaluation, to a relative 1e-9."""
    expected = course(case, ALONE)
    first, second = (each["cases"][case] for each in pair)
    assert first.keys() == second.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, Tensor):
            assert torch.equal(first[name], second[name]), name
            torch.testing.assert_close(first[name], value, rtol=1e-9, atol=1e-12, msg=name)
        else:
            assert first[name] == second[name], name
            assert first[name] == (value if value is None else pytest.approx(value, rel=1e-9))
    if case == "fixed":
        assert 0 < expected["mask_rate"] < 1
    if case == "wide-resnet":  # the others give one class only
        assert expected["/history"].shape == (1, 43) and len(expected["/history"].unique()) > 1


def test_batch_norm_of_two_processes_is_that_of_one(pair: list[dict[str, Any]]) -> None:
    expected = norm_course(nn.BatchNorm2d(5, momentum=0.3), ALONE)
    for each in pair:
        assert len(each["norm"]) == len(expected) == 2 + 2 + 5
        for got, value in zip(each["norm"], expected, strict=True):
            torch.testing.assert_close(got, value, rtol=1e-12, atol=1e-12)


def test_a_nan_in_one_process_freezes_all_at_the_same_step(pair: list[dict[str, Any]]) -> None:
    assert [each["frozen"] for each in pair] == [(3, False), (3, False)]


def test_an_error_in_one_process_is_raised_in_all(pair: list[dict[str, Any]]) -> None:
    assert [each["error"] for each in pair] == ["process 1 does not like it"] * 2


def weights(out: Path) -> dict[str, Tensor]:
    return load_file(sorted((out / "checkpoints").iterdir())[-1])


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("out", ["pair", "alone-then-pair", "pair-then-alone"])
def test_runs_of_two_processes_equal_that_of_one(folder: Path, out: str) -> None:
    """In float32, whole or stopped and resumed with another number: to 1e-4 after ten steps."""
    if out == "pair-then-alone":
        assert command(out, "--resume") == 0
    expected, got = weights(folder / "alone"), weights(folder / out)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-4, msg=name)
    rows = [
        [json.loads(line) for line in (folder / each / "metrics.jsonl").read_text().splitlines()]
        for each in ("alone", out)
    ]
    assert [row["step"] for row in rows[1]] == [5, 10]
    for one, two in zip(*rows, strict=True):
        for key in ("loss", "mask_rate", "ema_accuracy"):
            assert two[key] == pytest.approx(one[key], abs=1e-3), key
    config = json.loads((folder / out / "config.json").read_text())
    assert config["processes"] == (1 if out == "alone-then-pair" else 2)


@pytest.mark.usefixtures("pair")
def test_the_first_process_speaks_and_each_for_its_own_device(folder: Path) -> None:
    first, second = ((folder / f"{rank}.txt").read_text() for rank in (0, 1))
    codes = [0, 2, 2, 0, 130, 2]
    for each in (first, second):
        assert json.loads(each.splitlines()[-1]) == codes
    assert first.count("wrote pair\n") == 1
    assert "error: pair already exists" in first
    assert "error: batch=15 cannot be shared evenly by 2 processes; use a multiple of 2" in first
    assert "stopped: the run is saved at step 4 of 10" in first
    assert "error: another process of this run ended; its message says why" in first
    assert "more were needed; lower --batch (16) or --mu (2)" in second
    assert len(second.splitlines()) == 2


def test_sigterm_to_torchrun_saves_and_stops(folder: Path) -> None:
    """Torchrun passes the signal on to both processes."""
    words = [*WORDS, "--out", "endless", "--steps", "1000000", "--eval-every", "2"]
    process = subprocess.Popen(
        [*TORCHRUN, "-m", "fmsel.cli", *words], stderr=subprocess.PIPE, text=True
    )
    checkpoints = folder / "endless" / "checkpoints"
    while process.poll() is None and not list(checkpoints.glob("*.safetensors")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert said.count("stopped: the run is saved at step") == 1
    step = int(sorted(checkpoints.iterdir())[-1].stem[5:])
    assert f"is saved at step {step:,} of 1,000,000 in endless" in said


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("CUDA out of memory. Tried to allocate 20.50 MiB. GPU 0 has …", "21,495,808 bytes"),
        (
            "DefaultCPUAllocator: not enough memory: you tried to allocate 4096 bytes.",
            "4,096 bytes",
        ),
        ("Unable to allocate 1.5 GiB for an array with shape (1,)", "1,610,612,736 bytes"),
    ],
)
@pytest.mark.parametrize("kind", [torch.cuda.OutOfMemoryError, MemoryError])
def test_out_of_memory_is_one_sentence(said: str, size: str, kind: type[Exception]) -> None:
    sentence = f"^out of memory: {size} more were needed; buy some$"
    with pytest.raises(DeviceError, match=sentence), memory_errors("buy some"):
        raise kind(said)


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), memory_errors("buy some"):
        raise RuntimeError("shapes differ")


def test_out_of_memory_keeps_the_last_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("full", at=7, happens=need_too_much) == 2
    assert "1,125,899,906,842,624 bytes more were needed" in capsys.readouterr().err
    assert [path.stem for path in (folder / "full" / "checkpoints").iterdir()] == ["step-00000005"]


def test_every_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "3", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match=r"use --nproc-per-node 2$"), joined("auto"):
        pass
    with pytest.raises(DeviceError, match=r"cpu or cuda, not on 'cuda:1'$"), joined("cuda:1"):
        pass


def test_batch_norms_are_replaced_with_their_state() -> None:
    """Everywhere in a network, in its dtype; evaluation needs no other process."""
    model = session_of("wide-resnet", ALONE).learner.model.double()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    model(images)
    state, expected = {k: v.clone() for k, v in model.state_dict().items()}, model.eval()(images)
    changed = with_global_batch_norm(model)
    norms = [m for m in changed.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 25 and all(isinstance(m, GlobalBatchNorm2d) for m in norms)
    assert changed.state_dict().keys() == state.keys()
    assert torch.equal(changed.eval()(images), expected)


@pytest.mark.gpu
def test_steps_of_two_gpus_equal_those_of_one(tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    done = subprocess.run([*TORCHRUN, __file__, str(tmp_path), "cuda"], check=False, timeout=300)
    assert done.returncode == 0
    expected, got = gpu_course(ALONE), torch.load(tmp_path / "0.pt")
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name].cpu(), value.cpu(), rtol=2e-3, atol=2e-3, msg=name)


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
