"""States at times at which steps end."""

from typing import Any, final

import torch

from sciml.integrate.flat import Flat, map_leaves
from sciml.integrate.outputs import AbstractOutput


@final
class StopsOutput(AbstractOutput):
    """States at given times, each of which a joint step ends at; NaN at times that were not reached.

    Args:
        tau: wanted times, increasing.
        tau0: where the solve starts.
        y0: initial state.
    """

    def __init__(self, tau: list[float], tau0: float, y0: Flat) -> None:
        self.tau, self.y0 = tau, y0
        self.states: list[Flat] = [y0 for t in tau if t <= tau0]

    def add(self, record: Any, last: bool) -> None:
        """See `AbstractOutput.add`."""
        while len(self.states) < len(self.tau) and self.tau[len(self.states)] <= record.after:
            self.states.append(record.attempt.step.y)

    def finish(self, y1: Flat) -> Any:
        """(batch, time, *state)."""
        lost = map_leaves(lambda y: torch.full_like(y, torch.nan, requires_grad=False), self.y0)
        missing = [lost] * (len(self.tau) - len(self.states))
        return map_leaves(lambda *states: torch.stack(states, dim=1), *self.states, *missing)
