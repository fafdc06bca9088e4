"""Running out of memory: said in one sentence, and given back where others may need it."""

import dataclasses
import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fmsel.datasets import ImageDataset, Source, WeakAugment
from fmsel.errors import DeviceError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.run import loop
from fmsel.fixmatch.run.inputs import prepare_inputs
from fmsel.fixmatch.run.job import Job, Options
from fmsel.fixmatch.run.session import Session
from fmsel.selection.random import Random
from fmsel.selection.split import Split, make_split
from fmsel.training.engine import capture
from fmsel.training.engine import memory as memory_module
from fmsel.training.engine.capture import Captured
from fmsel.training.engine.memory import let_go, memory_errors, saved_numbers
from fmsel.training.networks.build import build_network

TINY = FixMatchConfig(arch="small-conv-4", steps=6, batch=4, mu=2, eval_every=6)


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


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA driver error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    ],
)
def test_a_device_that_names_no_bytes_is_understood(said: str) -> None:
    sentence = "^out of memory on the device; buy some$"
    with pytest.raises(DeviceError, match=sentence), memory_errors("buy some"):
        raise RuntimeError(said)


def test_what_a_recording_failed_of_is_found() -> None:
    sentence = "^out of memory: 21,495,808 bytes more were needed; buy some$"
    with pytest.raises(DeviceError, match=sentence), memory_errors("buy some"):
        try:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.50 MiB.")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")


def test_what_happens_while_another_error_is_handled_is_itself() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), memory_errors("buy some"):
        try:
            raise MemoryError("Unable to allocate 1.5 GiB")
        except MemoryError:
            raise RuntimeError("shapes differ") from None


class Big:
    """Something that takes memory."""


@contextmanager
def no_collection() -> Iterator[None]:
    """Training makes so few Python objects that it meets no full collection for hours."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_an_error_that_is_kept_keeps_nothing_else() -> None:
    died: list[Any] = []

    def step() -> None:
        big = Big()
        died.append(weakref.ref(big))
        raise MemoryError("Unable to allocate 1.5 GiB")

    with no_collection():
        try:
            with memory_errors("buy some"):
                step()
        except DeviceError as error:
            kept = error
        assert died[0]() is not None
        let_go(kept)
        assert died[0]() is None
    assert str(kept).startswith("out of memory: 1,610,612,736 bytes")


def some_images() -> ImageDataset:
    rng = np.random.default_rng(0)
    return ImageDataset(
        name="made",
        part="train",
        images=rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8),
        labels=np.arange(30) % 3,
        class_names=("a", "b", "c"),
        ids=np.array([str(number) for number in range(30)]),
        weak=WeakAugment(flip=False, shift=1),
        source=Source(dataset="made"),
    )


def some_split(data: ImageDataset) -> Split:
    return make_split(data, Random(), batch_size=12, seed=0)


def test_what_convolutions_read_is_counted_as_by_hand() -> None:
    """WRN-28-2: the stem, and of each stage its first block with a shortcut, then three."""
    with torch.device("meta"):
        network = build_network("wrn-28-2", n_classes=2, image_side=32, bn_momentum=0.1, seed=0)
    first = 32**2 * (3 + (16 + 32 + 16) + 6 * 32)
    second = 32**2 * (32 + 32) + 16**2 * (64 + 6 * 64)
    third = 16**2 * (64 + 64) + 8**2 * (128 + 6 * 128)
    assert saved_numbers(network, 32) == first + second + third


def test_a_step_that_the_machine_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the system grants its memory and kills the process later."""
    data, out = some_images(), tmp_path / "run"
    job = Job(split=some_split(data), out=out, seed=0)
    options = Options(device="cpu", precision="fp32", progress=False)
    monkeypatch.setattr(memory_module, "memory", lambda: 10_000_000)
    large = dataclasses.replace(TINY, batch=4_000)
    sentence = r"^out of memory: [\d,]+ bytes more were needed; lower --batch \(4000\)"
    with pytest.raises(DeviceError, match=sentence):
        list(loop.train_jobs([job], data, None, large, options))
    wide = dataclasses.replace(TINY, arch="resnet9-9999")  # its weights alone are 640 GB
    with pytest.raises(DeviceError, match=r"^out of memory: 2,562,[\d,]+ bytes more were"):
        list(loop.train_jobs([job], data, None, wide, options))
    assert not out.exists()
    list(loop.train_jobs([job], data, None, TINY, options))
    monkeypatch.setattr(memory_module, "memory", lambda: None)  # a system that does not tell
    job = dataclasses.replace(job, out=tmp_path / "other")
    list(loop.train_jobs([job], data, None, TINY, options))


def test_a_run_that_records_ends_when_it_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(capture, "_stream_to_record", lambda device: None)
    monkeypatch.setattr(Captured, "_run", lambda self, learn, inputs, stream: learn(*inputs))
    data = some_images()
    inputs = prepare_inputs(some_split(data), data, None, torch.device("cpu"))
    for _ in range(2):  # what torch imports at the first one keeps its frames
        with no_collection():
            session = Session(
                inputs, data.weak, TINY, seed=0, supervised_only=False, precision="fp32"
            )
            session.captured = Captured(torch.device("cuda"))
            session.advance()
            dropped = weakref.ref(session)
            del session
            freed = dropped() is None
    assert freed


def test_a_failed_run_gives_its_memory_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    seen: list[bool] = []

    class Watched(Session):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(weakref.ref(self))

        def advance(self) -> None:
            if self is made[0]() and self.step == 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB.")
            super().advance()
            if self.step == 5:
                seen.append(made[0]() is None)

    monkeypatch.setattr(loop, "Session", Watched)
    data = some_images()
    split = some_split(data)
    jobs = [Job(split=split, out=tmp_path / name, seed=0) for name in ("first", "second")]
    finished = []
    with no_collection(), pytest.raises(DeviceError, match="2,097,152 bytes more were needed"):
        for job, _ in loop.train_jobs(
            jobs, data, None, TINY, Options(device="cpu", progress=False), together=2
        ):
            finished.append(job.out.name)
    assert finished == ["second"]
    assert seen == [True]
