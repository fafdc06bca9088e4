"""`Ahead`: the next step's batch, made beside the step before on a CUDA stream of its own."""

from collections.abc import Callable

import torch
from torch import Tensor

from fmsel.fixmatch.batches import Labelled, Unlabelled

Batch = tuple[Labelled, Unlabelled | None]
Make = Callable[[Tensor], Batch]  # of packed draws: work for the device alone


class Ahead:
    """Holds the batch of one step at fixed places, where a recorded step finds it.

    Augmentation leaves most of a GPU idle; beside the network it costs little. A batch depends on
    (seed, step) and on what probes taught before that step, so nothing here needs saving. No
    function is kept, as in `Captured`.

    Args:
        device: where; on one without streams, such as a CPU, one comes after the other.

    Attributes:
        step: whose batch waits; -1 before the first.
    """

    def __init__(self, device: torch.device) -> None:
        self.step = -1
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._waiting: Batch | None = None

    def expect(self, step: int, draws: Callable[[int], Tensor], make: Make) -> None:
        """Let the batch of `step` wait, made now if it is not there."""
        if self.step != step:
            self._put(make(draws(step)))
            self.step = step

    def beside(
        self,
        flat: Tensor,
        before: Callable[[Labelled], None],
        make: Make,
        work: Callable[[Labelled, Unlabelled | None], None],
    ) -> None:
        """`work` on the batch that waits; that of the draws `flat` then takes its place.

        Args:
            flat: packed draws.
            before: is to be done with the labelled images before the next batch is made.
            make: what makes it, beside `work`; it must read nothing that `work` changes, other
                than where it puts back what is there.
            work: what is done with the batch.
        """
        assert self._waiting is not None
        before(self._waiting[0])
        if self.stream is None:
            made = make(flat)
            work(*self._waiting)
        else:
            current = torch.cuda.current_stream(self.stream.device)
            self.stream.wait_stream(current)
            with torch.cuda.stream(self.stream):
                made = make(flat)
            work(*self._waiting)
            current.wait_stream(self.stream)
        self._put(made)

    def _put(self, batch: Batch) -> None:
        if self._waiting is None:
            self._waiting = batch
            return
        for target, source in zip(_tensors(self._waiting), _tensors(batch), strict=True):
            target.copy_(source)


def _tensors(batch: Batch) -> list[Tensor]:
    labelled, unlabelled = batch
    found = [labelled.images, labelled.labels]
    if labelled.probe is not None:
        found += [labelled.probe.images, labelled.probe.record]
    if unlabelled is not None:
        found += [unlabelled.weak, unlabelled.strong, unlabelled.index]
    return found
