"""Selective state-space layer: the input chooses step, B and C of a diagonal system."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.core.checks import check_whole
from sciml.ssm.cells import Cell
from sciml.ssm.checks import check_entry, check_kind, check_series, check_state
from sciml.ssm.discretise import AbstractDiscretisation, SimplifiedZOH
from sciml.ssm.executions import AbstractExecution, Recurrent, Scan
from sciml.ssm.frequencies import s4d_real
from sciml.ssm.intervals import Interval, of_one_entry, per_entry
from sciml.ssm.layer import AbstractLayer
from sciml.ssm.layers.starts import as_default, log_uniform
from sciml.ssm.layers.token_convolution import TokenConvolution
from sciml.ssm.matrices import Diagonal
from sciml.ssm.own_dtype import in_own_dtype
from sciml.ssm.ports import Ports
from sciml.ssm.running import Running
from sciml.ssm.steps import Steps


class SelectiveState(NamedTuple):
    """What a selective layer carries.

    Args:
        window: the last entries of its token convolution, (batch, width - 1, inner).
        memory: states of its systems, (batch, inner, state).
    """

    window: Tensor
    memory: Tensor


@final
class Selective(AbstractLayer):
    """The mixer of Mamba, on series with intervals.

        (v, g) = W_in u,    v = silu(conv(v)),    (s, B, C) = W v,    step = d softplus(W_s s + bias)
        x_k = exp(step a) x_{k-1} + step B v,    y = C x + D v,    out = W_out (y silu(g))

    with intervals d that multiply the chosen step, and a token convolution that does not see entries of interval 0, so
    that padding is neutral. With intervals of 1 it is the published layer.

    Args:
        channels: inputs and outputs.
        state: real size of each system: where the spectrum has conjugate pairs, half of it.
        spectrum: where a starts, a function of state: `s4d_real` as published by default; complex ones keep the order
            of what was chosen, where the real one only fades.
        expand: inner channels per channel.
        width: of the token convolution.
        rank: of the chosen step; a sixteenth of the channels by default.
        discretisation: `SimplifiedZOH()` as published by default; `ZOH()` is exact for a held input.
        shortest, longest: range in which steps start, [1].

    Raises:
        ValueError: if a size is not a whole number of at least 1, or the range of steps is empty.

    Source: Gu & Dao (2023), arXiv 2312.00752, algorithm 2 and section 3.6. Steps start at no less than 1e-4, as in its
    code. Its text discretises B by ZOH, its code by the step alone, and here either does.
    """

    def __init__(
        self,
        channels: int,
        state: int = 16,
        *,
        spectrum: Callable[[int], Tensor] = s4d_real,
        expand: int = 2,
        width: int = 4,
        rank: int | None = None,
        discretisation: AbstractDiscretisation | None = None,
        shortest: float = 1e-3,
        longest: float = 0.1,
    ) -> None:
        super().__init__()
        rank = -(-channels // 16) if rank is None else rank
        sizes = {"channels": channels, "state": state, "expand": expand, "width": width, "rank": rank}
        for name, value in sizes.items():
            check_whole(name, value, 1)
        inner = expand * channels
        self.channels, self.inner, self.state, self.rank = channels, inner, state, rank
        self.discretisation = discretisation or SimplifiedZOH()
        self.enter = nn.Linear(channels, 2 * inner, bias=False)
        self.convolution = TokenConvolution(inner, width)
        self.choose = nn.Linear(inner, rank + 2 * state, bias=False)
        self.widen = nn.Linear(rank, inner)
        self.matrix = Diagonal(as_default(spectrum(state)).expand(inner, -1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, channels, bias=False)
        steps = log_uniform(inner, low=shortest, high=longest).clamp(min=1e-4)
        with torch.no_grad():
            self.widen.weight.uniform_(-(rank**-0.5), rank**-0.5)
            self.widen.bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # softplus of it is the step

    def forward(
        self,
        u: Float[Tensor, "batch time channel"],
        dt: Interval = None,
        state: SelectiveState | None = None,
        execution: AbstractExecution | None = None,
    ) -> Float[Tensor, "batch time channel"]:
        """Outputs of a series.

        Args:
            u: inputs.
            dt: time since the entry before, (batch, time) or one number for all; 1 by default, [time].
            state: where to start, from `prefill`, `step` or `initial_state`; zero by default.
            execution: `Scan()` by default; no convolution runs a system that the input chooses.

        Raises:
            RefusedError: for an execution that the table refuses.
            ValueError: if shapes disagree or an interval is negative.
            TypeError: if dtypes disagree.
        """
        return self.prefill(u, dt, state, execution)[0]

    @property
    def dtype(self) -> torch.dtype:
        """Of series and intervals."""
        return self.skip.dtype

    @property
    def outgoing(self) -> int:
        """As many channels as enter."""
        return self.channels

    @in_own_dtype
    def prefill(
        self,
        u: Float[Tensor, "batch time channel"],
        dt: Interval = None,
        state: SelectiveState | None = None,
        execution: AbstractExecution | None = None,
    ) -> tuple[Float[Tensor, "batch time channel"], SelectiveState]:
        """Outputs of a series and the state behind it. Arguments as in `forward`."""
        dtype = self.skip.dtype
        check_series(u, self.channels, dtype)
        if state is None:
            state = self.initial_state(len(u))
        else:
            check_kind(state, SelectiveState)
            check_state(state.window, (len(u), self.convolution.width - 1, self.inner), dtype)
            check_state(state.memory, (len(u), self.inner, self.matrix.state), self._memory_dtype)
        interval = per_entry(dt, u)
        v, gate = self.enter(u).chunk(2, dim=-1)
        v, window = self.convolution(v, state.window, interval)
        v = nn.functional.silu(v)
        y, memory = self._run(v, interval, state.memory, execution or Scan())
        y = torch.addcmul(y, self.skip, v)
        return self.leave(y * nn.functional.silu(gate)), SelectiveState(window, memory)

    @in_own_dtype
    def step(
        self, u: Float[Tensor, "batch channel"], state: SelectiveState, dt: Interval = None
    ) -> tuple[Float[Tensor, "batch channel"], SelectiveState]:
        """Output and state of one more entry; dt (batch,) or one number."""
        check_entry(u, self.channels, self.skip.dtype)
        y, state = self.prefill(u.unsqueeze(1), of_one_entry(dt, u), state, Recurrent())
        return y.squeeze(1), state

    def initial_state(self, batch: int) -> SelectiveState:
        """Zeros."""
        memory = self.skip.new_zeros(batch, self.inner, self.matrix.state, dtype=self._memory_dtype)
        return SelectiveState(self.convolution.initial_window(batch), memory)

    def slow_parameters(self) -> Iterator[nn.Parameter]:
        """A, D and the bias of the step."""
        yield from self.matrix.parameters()
        yield self.skip
        yield self.widen.bias

    @property
    def _memory_dtype(self) -> torch.dtype:
        return torch.promote_types(self.skip.dtype, torch.complex64) if self.matrix.is_complex else self.skip.dtype

    def _run(self, v: Tensor, interval: Tensor, memory: Tensor, execution: AbstractExecution) -> tuple[Tensor, Tensor]:
        """C x of the system that the entries choose, and its last state."""
        s, b, c = self.choose(v).split([self.rank, self.state, self.state], dim=-1)
        scale = nn.functional.softplus(self.widen(s))
        if self.matrix.is_complex:
            b, c = (torch.view_as_complex(value.unflatten(-1, (-1, 2)).contiguous()) for value in (b, c))
        ports = Ports(b[:, :, None, :, None], c[:, :, None, None, :])
        system = Running(self.matrix, self.discretisation, Steps(interval, scale.unsqueeze(-1)), ports)
        Cell(Diagonal, self.discretisation, system.changing, execution, selective=True).check()
        outcome = execution.run(system, v.unsqueeze(-1), memory, True)
        assert outcome.state is not None
        return outcome.y.squeeze(-1), outcome.state
