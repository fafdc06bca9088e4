"""Record a function of tensors as a CUDA graph, and replay it: one launch instead of hundreds."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP = 4  # real calls before the recording: optimiser state and kernel choices must be there


class Captured:
    """Calls `function(*inputs)` for its effects, from call `WARM_UP` on as a CUDA graph.

    The first calls run as they are, on the side stream that recording asks for; then every call
    copies its inputs to where the recording read them and replays it. So the effects are those of
    calling the function each time, if it

    * changes tensors in place and allocates what lasts during the first calls only,
    * has inputs of the same shapes and dtypes at every call,
    * never waits for the device, and draws no random numbers.

    Args:
        function: what to run; its result is thrown away.
        device: the CUDA device that it runs on.
    """

    def __init__(self, function: Callable[..., object], device: torch.device) -> None:
        self.function = function
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, ...] = ()
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, *inputs: Tensor) -> None:
        """Run or replay; `inputs` are on the device."""
        self.calls += 1
        if self.calls <= WARM_UP:
            self._run(inputs)
            return
        if self.graph is None:
            self._record(inputs)
        self._copy(inputs)
        assert self.graph is not None
        self.graph.replay()

    def _run(self, inputs: Sequence[Tensor]) -> None:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.function(*inputs)
        torch.cuda.current_stream().wait_stream(self.stream)

    def _record(self, inputs: Sequence[Tensor]) -> None:
        """Recording runs nothing: the effects come with the replay."""
        self.inputs = tuple(torch.empty_like(each) for each in inputs)
        self._copy(inputs)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.function(*self.inputs)

    def _copy(self, inputs: Sequence[Tensor]) -> None:
        for target, source in zip(self.inputs, inputs, strict=True):
            target.copy_(source, non_blocking=True)
