"""Several processes, started by torchrun, that train one network on one batch.

Every process holds the whole network and passes its share of the batch through it. The outputs are
then gathered, so that every process computes the same loss from the whole batch, and differentiates
it by its own outputs alone: the gradient of the loss is the sum of theirs.
"""

import atexit
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fmsel.errors import DeviceError, FmselError

TIMEOUT = timedelta(minutes=10)  # for what another process does; then this one gives up


@dataclass(frozen=True)
class World:
    """The processes of a run; with one, nothing here costs or changes anything.

    Attributes:
        rank: of this process, 0..size-1.
        size: their number.
    """

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """(n, …) -> (n / size, …), this process's part; the first ones get what is left over."""
        return batch if self.size == 1 else batch.tensor_split(self.size)[self.rank]

    def whole(self, part: Tensor) -> Tensor:
        """(n, …), as many in each process -> (size n, …), in the order of `share`.

        The gradient of `part` is its part of the gradient of the whole: a loss of the whole, the
        same in every process, has the sum of the processes' gradients.
        """
        if self.size == 1:
            return part
        whole: Tensor = _Gathered.apply(part, self.rank, self.size)
        return whole

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one dtype by their sums over all processes, in one message."""
        if self.size == 1:
            return
        total = torch.cat([each.flatten() for each in tensors])
        dist.all_reduce(total)
        parts = torch.split(total, [each.numel() for each in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process; waits for all of them, not for their devices."""
        if self.size == 1:
            return flag
        found = torch.tensor(int(flag))
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return bool(found)

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Let all processes come to the end, or raise what any of them raised.

        Raises:
            FmselError: the first process's that raised one.
        """
        if self.size == 1:
            yield
            return
        error: FmselError | None = None
        try:
            yield
        except FmselError as raised:
            error = raised
        errors: list[FmselError | None] = [None] * self.size
        dist.all_gather_object(errors, error)
        for each in errors:
            if each is not None:
                raise each


ALONE = World()


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The processes that torchrun started, connected; `ALONE` without it.

    Process k of a machine takes its k-th GPU: from here on "cuda" is that one. They stay connected
    as long as they live, for torch cannot connect them again.

    Args:
        device: "auto", "cpu" or "cuda".
    Raises:
        DeviceError: another device, or fewer GPUs than processes.
        FmselError: another process is gone.
    """
    if not launched():
        yield ALONE
        return
    if not dist.is_initialized():
        _connect(device)
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    except BaseException as error:
        atexit.unregister(dist.destroy_process_group)  # it might wait for the others
        if isinstance(error, RuntimeError) and "gloo" in str(error):
            raise FmselError("another process of this run ended; its message says why") from error
        raise


def leave(code: int) -> NoReturn:
    """End this process, one of those that torchrun started, with the exit code `code`.

    Python's own way to end aborts it now and then: threads of torch's still let go of tensors.
    """
    if code == 0 and dist.is_initialized():
        dist.destroy_process_group()  # after a failure it might wait for the others
    with suppress(OSError):  # nobody may be there to read it
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return process_count() > 1


def process_count() -> int:
    """How many torchrun started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def _connect(device: str) -> None:
    _choose_device(device)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and device != "cpu" else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    atexit.register(dist.destroy_process_group)


def _choose_device(device: str) -> None:
    if device not in ("auto", "cpu", "cuda"):
        raise DeviceError(f"several processes train on --device cpu or cuda, not on {device!r}")
    if device == "cpu" or not torch.cuda.is_available():
        return
    index, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if index >= count:
        raise DeviceError(f"every process needs a GPU of its own; use --nproc-per-node {count}")
    torch.cuda.set_device(index)


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batch of all processes, for the CPU, where SyncBatchNorm has none.

    Every process has as many images. Its state is that of `nn.BatchNorm2d`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(n, C, H, W) -> the same shape and dtype; computed in the dtype of the weights."""
        if not self.training:
            return super().forward(input)
        x, axes = input.to(self.weight.dtype), (0, 2, 3)
        mean = _mean(x.mean(axes))  # (C,), over all processes
        centred = x - mean[:, None, None]
        variance = _mean(centred.square().mean(axes))
        self._follow(mean.detach(), variance.detach(), x.numel() // len(mean))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics, the variance unbiased, as `nn.BatchNorm2d` does."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        count *= dist.get_world_size()
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        self.num_batches_tracked += 1


def with_global_batch_norm(model: nn.Module) -> nn.Module:
    """`model`, each of its batch norms replaced by one over all processes; same state dict."""
    if next(model.parameters()).device.type == "cuda":
        replaced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return replaced
    for parent in list(model.modules()):
        for name, old in list(parent.named_children()):
            if isinstance(old, nn.BatchNorm2d):
                new = GlobalBatchNorm2d(old.num_features, old.eps, old.momentum).to(old.weight)
                new.load_state_dict(old.state_dict())
                setattr(parent, name, new)
    return model


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, rank: int, size: int) -> Tensor:
        ctx.rank, ctx.size = rank, size
        parts = [torch.empty_like(part) for _ in range(size)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.chunk(ctx.size)[ctx.rank], None, None


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        mean = value / dist.get_world_size()
        dist.all_reduce(mean)
        return mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient / dist.get_world_size()
        dist.all_reduce(total)
        return total


def _mean(value: Tensor) -> Tensor:
    """Mean over all processes, with gradient: each one's loss counts."""
    mean: Tensor = _Mean.apply(value)
    return mean
