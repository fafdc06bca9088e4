"""State that stays where it is in memory."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor


class InPlaceState(ABC):
    """A rule whose tensors are only ever written into, never replaced.

    A step captured as a CUDA graph reads and writes fixed addresses; so calling the rule and
    loading a state both leave every tensor where it was.
    """

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """The tensors themselves, not copies."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy `state`, of the same names and shapes, into the tensors that are there."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])
