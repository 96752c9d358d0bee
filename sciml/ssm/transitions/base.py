"""What a discretised system can do: x_k = Abar_k x_{k-1} + Bbar_k u_k."""

import abc

from torch import Tensor

CHUNK = 256
"""Steps that enter a state by one matrix product, where only the last state is wanted."""


class AbstractTransition(abc.ABC):
    """Steps of all systems, of one structure. Subclasses are final.

    Those with `fixed` have one step for all samples and times; kernels are theirs alone.
    """

    fixed: bool

    @abc.abstractmethod
    def force(self, b: Tensor, u: Tensor) -> Tensor:
        """Bbar u of all times, (batch, time, systems, state).

        Args:
            b: B, as in `Ports`.
            u: (batch, time, systems, in).
        """

    @abc.abstractmethod
    def advance(self, k: int, x: Tensor, forcing: Tensor) -> Tensor:
        """Abar_k x + forcing, (batch, systems, state)."""

    @abc.abstractmethod
    def scan(self, forcing: Tensor, x0: Tensor) -> Tensor:
        """All states in parallel, (batch, time, systems, state)."""

    @abc.abstractmethod
    def kernel(self, b: Tensor, c: Tensor, length: int) -> Tensor:
        """C Abar^l Bbar for l = 0 .. length - 1, (systems, out, in, length)."""

    @abc.abstractmethod
    def respond(self, c: Tensor, x0: Tensor, length: int) -> Tensor:
        """C Abar^(l+1) x0 for l = 0 .. length - 1, (batch, systems, out, length)."""

    @abc.abstractmethod
    def absorb(self, b: Tensor, u: Tensor, x0: Tensor) -> Tensor:
        """The last state alone, (batch, systems, state), without the others."""
