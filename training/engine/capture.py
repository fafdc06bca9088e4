"""Record a function of tensors as a CUDA graph, and replay it: one launch instead of hundreds."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP = 4  # real calls before the recording: optimiser state and kernel choices must be there

Effects = Callable[..., object]  # of tensors; the result is thrown away


class Captured:
    """Calls `function(*inputs)` for its effects, from call `WARM_UP` on as a CUDA graph.

    The first calls run as they are, on the stream that will record; then every call copies its
    inputs to where the recording read them and replays it. So the effects are those of calling the
    function each time, if it

    * is the same at every call,
    * changes tensors in place and allocates what lasts during the first calls only,
    * has inputs of the same shapes and dtypes at every call,
    * never waits for the device, and draws no random numbers.

    The function is not kept: a run that owns both ends, with its memory, when it is dropped.

    Args:
        device: the CUDA device that it runs on.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, ...] = ()
        self.stream: torch.cuda.Stream | None = None

    def __call__(self, function: Effects, *inputs: Tensor) -> None:
        """Run or replay; `inputs` are on the device."""
        with torch.cuda.device(self.device):
            if self.stream is None:
                self.stream = _stream_to_record(self.device)
            self.calls += 1
            if self.calls <= WARM_UP:
                self._run(function, inputs, self.stream)
                return
            if self.graph is None:
                self.graph = self._record(function, inputs, self.stream)
            self._copy(inputs)
            self.graph.replay()

    def _run(self, function: Effects, inputs: Sequence[Tensor], stream: torch.cuda.Stream) -> None:
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function(*inputs)
        torch.cuda.current_stream().wait_stream(stream)

    def _record(
        self, function: Effects, inputs: Sequence[Tensor], stream: torch.cuda.Stream
    ) -> torch.cuda.CUDAGraph:
        """Recording runs nothing: the effects come with the replay."""
        self.inputs = tuple(torch.empty_like(each) for each in inputs)
        self._copy(inputs)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            function(*self.inputs)
        return graph

    def _copy(self, inputs: Sequence[Tensor]) -> None:
        for target, source in zip(self.inputs, inputs, strict=True):
            target.copy_(source, non_blocking=True)


def _stream_to_record(device: torch.device) -> torch.cuda.Stream:
    """The current stream, so that a run needs one; the default stream cannot be recorded."""
    current = torch.cuda.current_stream(device)
    if current != torch.cuda.default_stream(device):
        return current
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
