"""Resolve the device and the precision once, prove that they work, pass them down."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Literal

import torch

from fmsel.errors import DeviceError, OptionError
from fmsel.machine import keep_freed_memory

Precision = Literal["fp32", "bf16"]
Execution = Literal["eager", "graph", "compile", "fused"]
KINDS = ("cpu", "cuda")  # the device types to train on; mps has no float64, which sums need


def resolve_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" is the first GPU, or the CPU where there is none.

    On a GPU it turns TF32 off, which torch allows in convolutions: from here on fp32 is fp32 in the
    whole process. On a CPU the process keeps freed memory from here on (`keep_freed_memory`).

    Raises:
        DeviceError: it is of no kind in `KINDS`, or torch cannot allocate on it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "TORCHELASTIC_RUN_ID" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"  # torchrun: a GPU for each process
    try:
        device = torch.empty(1, device=name).device
    except (AssertionError, RuntimeError) as error:
        raise _unusable(name) from error
    if device.type not in KINDS:
        raise _unusable(name)
    if device.type == "cpu":
        keep_freed_memory()
    else:
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        # What deterministic runs need; torch up to 2.9 reads it once, at the first matrix product.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return device


def resolve_precision(name: str, device: torch.device) -> Precision:
    """The precision of convolutions: "auto" is bf16 where the hardware multiplies it natively.

    Raises:
        OptionError: `name` is not auto, fp32 or bf16.
    """
    if name == "auto":
        return "bf16" if _native_bf16(device) else "fp32"
    if name == "fp32":
        return "fp32"
    if name == "bf16":
        return "bf16"
    raise OptionError(f"precision {name!r} must be one of auto, fp32, bf16")


def resolve_execution(name: str, device: torch.device) -> Execution:
    """How steps are run: "auto" is fused on a GPU, graph where its kernels fail, else eager.

    "graph" replays a recorded step; "fused" does so with kernels of our own between and in the
    convolutions of a wide residual network; "compile" after torch.compile has fused the network (on
    a CPU it only compiles). All compute the same, to rounding.

    Raises:
        OptionError: an unknown name, graph or fused without a CUDA device, or fused where its
            kernels do not work.
    """
    if name == "auto":
        name = "eager" if device.type != "cuda" else "graph" if _no_kernels(device) else "fused"
    if name in ("graph", "fused") and device.type != "cuda":
        raise OptionError(f"mode {name!r} needs a CUDA device; use eager or compile")
    if name == "fused" and (why := _no_kernels(device)):
        raise OptionError(f"mode 'fused' does not work here ({why}); use graph")
    if name == "eager":
        return "eager"
    if name == "graph":
        return "graph"
    if name == "compile":
        return "compile"
    if name == "fused":
        return "fused"
    raise OptionError(f"mode {name!r} must be one of auto, eager, graph, compile, fused")


def configure_backends(device: torch.device, deterministic: bool) -> None:
    """Let a GPU be as fast as it can be, or give the same bits in every process.

    Sets torch's global switches: kernels chosen by trial, or with `deterministic` only such as are
    deterministic.
    """
    if device.type != "cuda":
        return
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic)
    # All empty memory here is written in full before it is read; filling it first takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def own_stream(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """A context to enter again and again, whose work has a CUDA stream of its own.

    Work of different streams may overlap. Nothing on a device without streams.
    """
    if device.type != "cuda":
        return nullcontext
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return lambda: torch.cuda.stream(stream)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The autocast context of `precision`; batch norm statistics and losses stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def device_name(device: torch.device) -> str:
    """What a record says of the device, such as "NVIDIA H100" or "cpu, 2 threads, <model>"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads{_cpu_model()}"


def _unusable(name: str) -> DeviceError:
    return DeviceError(f"the device {name!r} is not usable here; try --device cpu")


def _cpu_info() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _cpu_model() -> str:
    for line in _cpu_info().splitlines():
        if line.startswith("model name"):
            return ", " + line.partition(":")[2].strip()
    return ""


@cache
def _no_kernels(device: torch.device) -> str:
    """Why Triton's kernels do not work there; empty where they do."""
    try:
        from fmsel.training.networks.fused import check  # imports triton, which is not everywhere

        check(device)
    except Exception as error:  # of Triton, of its C compiler, of the file system
        return next(iter(str(error).splitlines()), type(error).__name__)
    return ""


def _native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    info = _cpu_info()
    return device.type == "cpu" and ("avx512_bf16" in info or "amx_bf16" in info)
