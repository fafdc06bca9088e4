"""Running out of memory: said in one sentence, and given back where it is kept by an error."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fmsel.errors import DeviceError
from fmsel.machine import memory
from fmsel.training.engine.device import Precision
from fmsel.training.networks.network import Network

# As torch says it of a GPU ("Tried to allocate 20.00 MiB") and of the CPU ("you tried to allocate
# 4096 bytes"), and numpy ("Unable to allocate 1.5 GiB").
ASKED = re.compile(r"(?:tried|unable) to allocate ([\d.]+) (bytes|[KMGT]iB)", re.IGNORECASE)
# As CUDA and its libraries say it, without a size.
NO_SIZE = re.compile(
    r"CUDA (?:driver )?error: out of memory|"
    r"CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_\w*ALLOC\w*_FAILED"
)
UNITS = {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Turn what torch and numpy raise for want of memory into a `DeviceError`.

    Args:
        remedy: what to do about it, the end of the sentence.
    Raises:
        DeviceError: there was no memory; it names the bytes asked for, where torch does.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        if "capture" in said:  # the recording of a graph failed; what of is said before
            said = "\n".join(map(str, _chain(error)))
        if found := ASKED.search(said):
            size = round(float(found[1]) * UNITS[found[2].lower()])
            needed = f": {size:,} bytes more were needed"
        elif NO_SIZE.search(said):
            needed = " on the device"
        else:
            raise
        raise DeviceError(f"out of memory{needed}; {remedy}") from error


def check_fits(
    model: Network, *, copies: int, images: int, side: int, precision: Precision
) -> None:
    """Refuse what a machine's memory cannot hold: the system would grant it, then kill the process.

    Args:
        model: the network, on torch's device "meta".
        copies: of its weights: themselves, their gradients, averages, …
        images: those that gradients go through; 0 where that happens on a GPU.
        side: of an image, in pixels.
        precision: of the convolutions.
    Raises:
        MemoryError: the weights and the inputs of convolutions alone, which the backward pass
            reads, are more than all memory of the machine.
    """
    numbers = sum(each.numel() for each in model.parameters())
    needed = 4 * copies * numbers
    if images:
        needed += images * saved_numbers(model, side) * (2 if precision == "bf16" else 4)
    if needed > (memory() or needed):
        raise MemoryError(f"Unable to allocate {needed} bytes")


def saved_numbers(model: Network, side: int) -> int:
    """How many its convolutions read for one image of side x side pixels.

    Args:
        model: on "meta", and of no other use afterwards.
        side: of the image.
    """
    numbers: list[int] = []

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        numbers.append(inputs[0].numel())

    for each in model.eval().modules():
        if isinstance(each, nn.Conv2d):
            each.register_forward_pre_hook(count)
    model.penultimate(torch.empty(1, 3, side, side, device="meta"))
    return sum(numbers)


def let_go(error: BaseException) -> None:
    """Free what the frames that `error` has passed still hold, such as tensors on a GPU."""
    for each in _chain(error):
        traceback.clear_frames(each.__traceback__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it came of."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
