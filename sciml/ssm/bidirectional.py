"""Two layers, one of which reads the series from its end."""

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor, nn

from sciml.ssm.executions import AbstractExecution
from sciml.ssm.intervals import Interval
from sciml.ssm.layer import AbstractLayer, State


@final
class Bidirectional(AbstractLayer):
    """Outputs of one layer and of another on the series from its end, side by side.

    The held input is one function of time, read in either direction: an interval stays with its entry. Both sides see
    the entry itself. Padding with intervals 0 is neutral on both ends.

    Its outputs are those of both, twice the channels of one: behind `Bidirectional(s4d(16), s4d(16))` stands
    `Gated(32, 16)`.

    Args:
        forwards: the layer that reads from the beginning.
        backwards: the other one.

    Raises:
        ValueError: if they have different channels.

    Source: Goel et al. (2022), arXiv 2202.09729, section 4.3. Its code adds two kernels, one of them reversed and
    without lag 0.
    """

    def __init__(self, forwards: AbstractLayer, backwards: AbstractLayer) -> None:
        super().__init__()
        if forwards.channels != backwards.channels:
            raise ValueError(
                f"both layers must have the same channels, got {forwards.channels} and {backwards.channels}. Make two "
                "of one kind."
            )
        self.forwards, self.backwards, self.channels = forwards, backwards, forwards.channels

    @property
    def outgoing(self) -> int:
        """Those of both."""
        return self.forwards.outgoing + self.backwards.outgoing

    def forward(
        self, u: Tensor, dt: Interval = None, state: State = None, execution: AbstractExecution | None = None
    ) -> Tensor:
        """(batch, time, channels) to (batch, time, outputs of both).

        Raises:
            ValueError: if a state is given: it would be needed at both ends.
        """
        if state is not None:
            _refuse("a state")
        turned = dt.flip(1) if isinstance(dt, Tensor) and dt.ndim == 2 else dt
        back = self.backwards(u.flip(1), turned, None, execution).flip(1)
        return torch.cat([self.forwards(u, dt, None, execution), back], dim=-1)

    def prefill(
        self, u: Tensor, dt: Interval = None, state: State = None, execution: AbstractExecution | None = None
    ) -> tuple[Tensor, State]:
        """Refused."""
        _refuse("prefill")
        raise AssertionError

    def step(self, u: Tensor, state: State, dt: Interval = None) -> tuple[Tensor, State]:
        """Refused."""
        _refuse("step")
        raise AssertionError

    def initial_state(self, batch: int) -> State:
        """Refused."""
        _refuse("initial_state")

    def slow_parameters(self) -> Iterator[nn.Parameter]:
        """None beyond those of the two."""
        yield from ()


def _refuse(what: str) -> None:
    raise ValueError(
        f"a bidirectional layer has no state between entries, so that {what} is not for it. Give it whole series, or "
        "take the layer in one direction."
    )
