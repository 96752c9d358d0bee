"""How inputs enter the states and states leave as outputs: v = B u, y = C x."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from sciml.ssm.pairs import columns_times_input, row_times_state, rows_times_states


@final
@dataclass(frozen=True, eq=False)
class Ports:
    """B and C of every system; with three axes constant in time, with five chosen by the input.

    A bank of systems with one input and output each has shapes (channels, state, 1); one system of all channels has
    (1, state, channels).

    Args:
        b: ([batch, time,] systems or 1, state, in).
        c: ([batch, time,] systems or 1, out, state).
    """

    b: Tensor
    c: Tensor

    @property
    def selective(self) -> bool:
        """Whether they change with the input."""
        return self.b.ndim == 5 or self.c.ndim == 5

    def drive(self, u: Tensor) -> Tensor:
        """B u, (batch, time, systems, state), of u (batch, time, systems, in)."""
        if u.shape[-1] == 1:
            return self.b.squeeze(-1) * u
        if self.b.ndim == 3 and len(self.b) == 1:
            return columns_times_input(self.b[0], u)
        return (self.b @ u.unsqueeze(-1).to(self.b.dtype)).squeeze(-1)

    def read(self, x: Tensor) -> Tensor:
        """C x, (batch, time, systems, out), of x (batch, time, systems, state)."""
        if self.c.ndim == 3 and len(self.c) == 1:
            return rows_times_states(self.c[0], x)
        return row_times_state(self.c, x.unsqueeze(-2))

    def narrow(self, start: int, stop: int) -> "Ports":
        """Those of a piece of the series."""
        return Ports(*(value[:, start:stop] if value.ndim == 5 else value for value in (self.b, self.c)))
