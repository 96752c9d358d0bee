"""A linear system that feeds itself: forecasts of SpaceTime."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.core.checks import check_whole
from sciml.ssm.checks import check_series, check_state
from sciml.ssm.discretise import AbstractDiscretisation
from sciml.ssm.executions import Convolution
from sciml.ssm.intervals import Interval
from sciml.ssm.layers.companion import companion
from sciml.ssm.own_dtype import in_own_dtype
from sciml.ssm.pairs import row_times_state
from sciml.ssm.ports import Ports
from sciml.ssm.running import Running
from sciml.ssm.system import StateSpace
from sciml.ssm.transitions.dense import DenseTransition
from sciml.ssm.transitions.powers import apply, moments


@final
@dataclass(frozen=True, eq=False)
class Ahead:
    """What is predicted for coming entries.

    Args:
        y: outputs, (batch, entries, channels).
        u: inputs, (batch, entries, channels).
    """

    y: Tensor
    u: Tensor


@final
class ClosedLoop(nn.Module):
    """A bank of companion systems with a feedback K in place of inputs that are not there yet.

        x_k = A x_{k-1} + B u_k,    and ahead    x_j = (A + B K) x_{j-1},    y_j = C x_j,    u_j = K x_{j-1}

    so that h entries ahead cost h steps of one matrix, and no model is run again. Where intervals are those of a flow,
    each step has its own A and B, and the feedback is held over it. K starts at 0: the loop is A itself then, which
    does not grow, so that forecasts of any length can be trained; with a random K it grows.

    Args:
        channels: systems, each with one input and one output.
        state: order of each; 64 for a map and 8 for a flow by default, which takes 12 at most.
        discretisation: `Discrete()` by default, for entries at equal distances and whole multiples of them; `ZOH()` for
            any intervals, with the companion matrix of a flow.

    Source: Zhang et al. (2023), arXiv 2303.09489, section 4.2, eq. (6)-(8), where y_j = C x_{j-1}: its C is C (A + B K)
    here, so that predictions depend on the interval ahead. Its published code mixes normalised and other vectors
    between A + B K, its start and its outputs, and takes B for K where no norm is asked for; here A, B, C and K are the
    same everywhere, and K starts at 0, not at random.
    """

    def __init__(
        self, channels: int, state: int | None = None, *, discretisation: AbstractDiscretisation | None = None
    ) -> None:
        super().__init__()
        self.system: StateSpace = companion(channels, state, outputs=2, discretisation=discretisation)
        self.channels, self.state = channels, self.system.matrix.state
        with torch.no_grad():
            self.system.c[:, 1] = 0

    @property
    def dtype(self) -> torch.dtype:
        """Of series and intervals."""
        return self.system.dtype

    @in_own_dtype
    def prefill(
        self, u: Float[Tensor, "batch time channel"], dt: Interval = None, state: Tensor | None = None
    ) -> tuple[Ahead, Tensor]:
        """Predictions of the entries 1, ..., time - 1 from those before each, and the state behind the last.

        Args:
            u: inputs.
            dt: time since the entry before, (batch, time) or one number for all; 1 by default, [time].
            state: where to start.
        """
        check_series(u, self.channels, self.system.dtype)
        running = self.system.running(dt, u)
        _, rows, index = self._ahead(running)
        inputs, start = u.unsqueeze(-1), self.system.initial_state(len(u)) if state is None else state
        check_state(start, (len(u), self.channels, self.state), u.dtype)
        if not running.changing:
            outcome = Convolution().run(running.with_ports(Ports(running.ports.b, rows[0])), inputs, start, True)
            assert outcome.state is not None
            return Ahead(*outcome.y[:, :-1].unbind(-1)), outcome.state
        x = running.transition.scan(running.transition.force(running.ports.b, inputs), start)
        ahead = row_times_state(rows[index[:, 1:]], x[:, :-1].unsqueeze(-2))
        return Ahead(*ahead.unbind(-1)), x[:, -1]

    @in_own_dtype
    def forecast(self, state: Tensor, entries: int, dt: Interval = None) -> Ahead:
        """Predictions of the coming entries from the state behind the last one.

        Args:
            state: from `prefill`.
            entries: how many.
            dt: time of each since the one before, (batch, entries) or one number for all; 1 by default, [time].

        Raises:
            ValueError: if `entries` is not a whole number of at least 1.
        """
        check_whole("entries", entries, 1)
        running = self.system.running(dt, state.new_empty(len(state), entries))
        closed, rows, index = self._ahead(running)
        if not running.changing:
            ahead = moments(rows[0], closed[0], state.unsqueeze(-1), entries)  # (batch, systems, 2, 1, entries)
            return Ahead(*ahead.squeeze(-2).movedim(-1, 1).unbind(-1))
        outputs = []
        for k in range(entries):
            outputs.append(row_times_state(rows[index[:, k]], state.unsqueeze(-2)))
            state = apply(closed[index[:, k]], state)
        return Ahead(*torch.stack(outputs, dim=1).unbind(-1))

    def _ahead(self, running: Running) -> tuple[Tensor, Tensor, Tensor]:
        """A + B K and the rows C (A + B K) and K of each distinct interval, and which one each step takes."""
        transition = running.transition
        assert isinstance(transition, DenseTransition)
        c, k = running.ports.c.split(1, dim=-2)
        closed = transition.factor + transition.gain @ running.ports.b @ k
        return closed, torch.cat([c @ closed, k.expand(len(closed), -1, -1, -1)], dim=-2), transition.index
