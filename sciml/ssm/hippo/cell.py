"""A recurrent network with a HiPPO memory: HiPPO-RNN."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.core.checks import check_whole
from sciml.ssm.checks import check_kind, check_series, check_state
from sciml.ssm.discretise import AbstractDiscretisation, Bilinear
from sciml.ssm.hippo.base import AbstractOperator
from sciml.ssm.hippo.legs import LegS
from sciml.ssm.intervals import Interval, as_intervals
from sciml.ssm.own_dtype import in_own_dtype


@final
@dataclass(frozen=True, eq=False)
class HiPPOState:
    """What the cell carries on.

    Args:
        hidden: (batch, hidden).
        memory: coefficients of each feature, (batch, features, states).
        elapsed: time since the start of each sample, (batch,), [time].
    """

    hidden: Tensor
    memory: Tensor
    elapsed: Tensor


@final
class HiPPOCell(nn.Module):
    """A gated recurrent network that sees and feeds a memory of its own features.

        z_t = (h_{t-1}, c_{t-1}, u_t),    g = sigmoid(W_g z_t),    h_t = (1 - g) h_{t-1} + g tanh(W_h z_t)
        f_t = W_f h_t,    c_t = Abar c_{t-1} + Bbar f_t

    With LegS the memory is of the whole past and its step interval/elapsed, whatever the unit of time; with other
    operators the step is the interval. An interval of 0 changes nothing (padding).

    Args:
        channels: of the input.
        hidden: size of h.
        states: coefficients per feature.
        features: how many functions are remembered.
        operator: the memory; LegS by default.
        rule: how the memory is stepped; the trapezoidal rule by default.

    Raises:
        ValueError: if a size is no whole number above 0.

    Source: Gu, Dao, Ermon, Rudra & Re (2020), arXiv 2008.07669, figure 2 and appendix F.1; several features are ours.
    """

    a: Tensor
    b: Tensor

    def __init__(
        self,
        channels: int,
        hidden: int,
        states: int,
        features: int = 1,
        operator: AbstractOperator | None = None,
        rule: AbstractDiscretisation | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("hidden", hidden), ("states", states), ("features", features)):
            check_whole(name, value, 1)
        self.channels, self.hidden, self.states, self.features = channels, hidden, states, features
        self.operator, self.rule = operator or LegS(), rule or Bilinear()
        self.gate = nn.Linear(hidden + features * states + channels, hidden)
        self.candidate = nn.Linear(hidden + features * states + channels, hidden)
        self.feature = nn.Linear(hidden, features)
        a, b = self.operator.transition(states)
        self.register_buffer("a", a.to(self.feature.weight.dtype), persistent=False)
        self.register_buffer("b", b.to(self.feature.weight.dtype), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """Of series and intervals."""
        return self.feature.weight.dtype

    def initial_state(self, batch: int) -> HiPPOState:
        """Nothing seen, at time 0.

        Args:
            batch: how many samples.
        """
        zeros = self.feature.weight.new_zeros
        return HiPPOState(zeros(batch, self.hidden), zeros(batch, self.features, self.states), zeros(batch))

    @in_own_dtype
    def forward(
        self,
        u: Float[Tensor, "batch time channel"],
        dt: Interval = None,
        state: HiPPOState | None = None,
    ) -> tuple[Float[Tensor, "batch time hidden"], HiPPOState]:
        """h at all times, and the state to go on from.

        Args:
            u: inputs.
            dt: time since the entry before, (batch, time) or one number for all; 1 by default, [time].
            state: to go on from; `initial_state` by default.

        Raises:
            ValueError: if an interval is negative, or shapes disagree.
            TypeError: if dtypes disagree.
        """
        check_series(u, self.channels, self.dtype)
        intervals = as_intervals(dt, u)
        state = self.initial_state(len(u)) if state is None else self._checked(state, len(u))
        hidden = []
        for k in range(u.shape[1]):
            state = self._step(u[:, k], intervals[:, min(k, intervals.shape[1] - 1)], state)
            hidden.append(state.hidden)
        return torch.stack(hidden, dim=1), state

    def _checked(self, state: HiPPOState, batch: int) -> HiPPOState:
        check_kind(state, HiPPOState)
        check_state(state.hidden, (batch, self.hidden), self.dtype)
        check_state(state.memory, (batch, self.features, self.states), self.dtype)
        check_state(state.elapsed, (batch,), self.dtype)
        return state

    def _step(self, u: Tensor, interval: Tensor, state: HiPPOState) -> HiPPOState:
        """One entry; `interval` is (batch,) or, one for all, (1,)."""
        z = torch.cat([state.hidden, state.memory.flatten(1), u], dim=-1)
        gate = torch.sigmoid(self.gate(z))
        hidden = (1 - gate) * state.hidden + gate * torch.tanh(self.candidate(z))
        hidden = torch.where((interval > 0).unsqueeze(-1), hidden, state.hidden)
        elapsed = state.elapsed + interval
        step = self._scaled(interval, elapsed)[:, None, None]
        factor, gain = self.rule.matrices(step * self.a)
        column = step.squeeze(-1) * (gain @ self.b)
        memory = state.memory @ factor.mT + self.feature(hidden).unsqueeze(-1) * column.unsqueeze(-2)
        return HiPPOState(hidden, memory, elapsed)

    def _scaled(self, interval: Tensor, elapsed: Tensor) -> Tensor:
        """The step of the memory; one for all samples where their clocks agree by construction."""
        if not isinstance(self.operator, LegS):
            return interval
        return torch.where(interval > 0, interval / torch.where(elapsed > 0, elapsed, 1.0), 0.0)
