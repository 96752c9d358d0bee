"""A system that is about to run: structure, rule, intervals and ports, discretised when first asked."""

from dataclasses import dataclass, field
from typing import Any, final

from torch import Tensor

from sciml.ssm.discretise import AbstractDiscretisation
from sciml.ssm.matrices import AbstractMatrix, Companion, Dense
from sciml.ssm.ports import Ports
from sciml.ssm.steps import Steps
from sciml.ssm.transitions.base import AbstractTransition
from sciml.ssm.transitions.dense import DenseTransition


@final
@dataclass(frozen=True, eq=False)
class Running:
    """What every execution works on. Pieces of a series share what is fixed.

    Args:
        matrix: A.
        rule: the discretisation.
        steps: the intervals.
        ports: B and C.
    """

    matrix: AbstractMatrix
    rule: AbstractDiscretisation
    steps: Steps
    ports: Ports
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def transition(self) -> AbstractTransition:
        """The steps, made once."""
        if "transition" not in self._kept:
            self._kept["transition"] = self.matrix.transition(self.rule, self.steps)
        return self._kept["transition"]

    @property
    def changing(self) -> bool:
        """Whether steps differ between samples or times."""
        return not self.steps.fixed

    def kernel(self, length: int) -> Tensor:
        """C Abar^l Bbar, (systems, out, in, length); a longer one that was made before is cut."""
        kept = self._kept.get("kernel")
        if kept is None or kept.shape[-1] < length:
            kept = self._kept["kernel"] = self.transition.kernel(self.ports.b, self.ports.c, length)
        return kept[..., :length]

    def with_ports(self, ports: Ports) -> "Running":
        """The same steps with other B and C."""
        return Running(self.matrix, self.rule, self.steps, ports, {"transition": self.transition})

    def narrow(self, start: int, stop: int) -> "Running":
        """A piece of the series."""
        if self.steps.fixed and not self.ports.selective:
            return self
        kept = self._kept if self.steps.fixed else {}
        return Running(self.matrix, self.rule, self.steps.narrow(start, stop), self.ports.narrow(start, stop), kept)

    def piece(self, start: int, stop: int) -> "Running":
        """As `narrow`, but matrices of distinct intervals, which are dear to make, are those of the whole series."""
        piece = self.narrow(start, stop)
        if not self.steps.fixed and isinstance(self.matrix, Dense | Companion):
            transition = self.transition
            assert isinstance(transition, DenseTransition)
            piece._kept["transition"] = transition.narrow(start, stop)
        return piece


@final
@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run gave.

    Args:
        y: C x at all times, (batch, time, systems, out).
        state: the last x, (batch, systems, state); None where nobody asked for it.
    """

    y: Tensor
    state: Tensor | None
