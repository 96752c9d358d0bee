"""What every layer of a series offers: whole series, whole series with the state, one time after the other."""

import abc
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from sciml.ssm.executions import AbstractExecution
from sciml.ssm.intervals import Interval

State = Any
"""A tensor or a tree of tensors whose first axis is the batch."""


class AbstractLayer(nn.Module, abc.ABC):
    """A causal map of series (batch, time, channel) with a state that can be taken out and put back.

    An interval d belongs to the entry at its end, whose input is held over it. A step of interval 0 leaves the state as
    it is, bitwise, so that padding with intervals 0 is neutral: what stands in it never matters, bitwise, as long as it
    is finite. A series with padding and without agree to rounding, for sums are cut at other places.
    """

    channels: int

    @property
    @abc.abstractmethod
    def outgoing(self) -> int:
        """Channels of its outputs."""

    @abc.abstractmethod
    def prefill(
        self,
        u: Tensor,
        dt: Interval = None,
        state: State = None,
        execution: AbstractExecution | None = None,
    ) -> tuple[Tensor, State]:
        """Outputs of a series and the state behind it."""

    @abc.abstractmethod
    def step(self, u: Tensor, state: State, dt: Interval = None) -> tuple[Tensor, State]:
        """Output and state of one more entry, u (batch, channel), dt (batch,) or one number."""

    @abc.abstractmethod
    def initial_state(self, batch: int) -> State:
        """The state before anything was seen."""

    @abc.abstractmethod
    def slow_parameters(self) -> Iterator[nn.Parameter]:
        """Those of the system itself, which want a smaller rate and no decay; not those of layers inside."""

    @abc.abstractmethod
    def forward(
        self,
        u: Tensor,
        dt: Interval = None,
        state: State = None,
        execution: AbstractExecution | None = None,
    ) -> Tensor:
        """Outputs of a series."""
