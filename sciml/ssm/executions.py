"""Ways to run one system, equal in exact arithmetic: what differs is cost.

| | time | memory beyond inputs | for |
|---|---|---|---|
| `Convolution` | O(L log L) | one kernel | one interval for all, the same system for all times |
| `Scan` | O(L) | all states | anything whose steps can be joined: all but diagonal plus low rank |
| `Recurrent` | O(L), one step after the other | all states where gradients are wanted, else 64 | anything |
| `Chunked` | that of what it runs | that of one chunk, without gradients | long series |
"""

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.core.checks import check_whole
from sciml.ssm.fused import fused_scan
from sciml.ssm.kernels import causal
from sciml.ssm.running import Outcome, Running
from sciml.ssm.transitions.diagonal import DiagonalTransition

PIECE = 64
"""Times whose states a recurrence without gradients holds at once: calls are as few as for all, and memory is none."""


class AbstractExecution(abc.ABC):
    """A way to run a system. Subclasses are final."""

    @abc.abstractmethod
    def run(self, system: Running, u: Tensor, x0: Tensor | None, want_state: bool) -> Outcome:
        """All outputs, and the last state where it is wanted.

        Args:
            system: what runs.
            u: (batch, time, systems, in).
            x0: the state before, (batch, systems, state); None is zero.
            want_state: whether the last state is needed; a convolution has it at a price.
        """


@final
@dataclass(frozen=True, eq=False)
class Kernel:
    """A convolution kernel, and what it was made for.

    Args:
        values: C Abar^l Bbar, (systems, out, in, lags).
        dt: the interval, [time].
    """

    values: Tensor
    dt: float


@final
@dataclass(frozen=True, eq=False)
class Convolution(AbstractExecution):
    """y = kernel * u by the real Fourier transform.

    Args:
        kernel: one made before by `StateSpace.kernel(length)`, for inference; None makes it anew from the parameters.
    """

    kernel: Kernel | None = None

    def run(self, system: Running, u: Tensor, x0: Tensor | None, want_state: bool) -> Outcome:
        """One kernel for all; systems of many inputs convolve their states instead, which are fewer."""
        if len(u) == 0:  # transforms of nothing are refused
            return Recurrent().run(system, u, x0, want_state)
        transition, ports, time = system.transition, system.ports, u.shape[1]
        if u.shape[-1] > 1 and isinstance(transition, DiagonalTransition) and self.kernel is None:
            x = transition.convolve(transition.force(ports.b, u), _zero(system, u) if x0 is None else x0)
            return Outcome(ports.read(x), x[:, -1])
        kernel = self._kernel(system, time)
        signals = u.movedim(1, -1)  # (batch, systems, in, time)
        one = u.shape[-1] == 1  # input for all outputs
        y = causal(signals, kernel.squeeze(-2)) if one else causal(signals.unsqueeze(-3), kernel).sum(-2)
        if x0 is not None:
            y = y + transition.respond(ports.c, x0, time)
        state = transition.absorb(ports.b, u, _zero(system, u) if x0 is None else x0) if want_state else None
        return Outcome(y.movedim(-1, 1), state)

    def _kernel(self, system: Running, time: int) -> Tensor:
        if self.kernel is None:
            return system.kernel(time)
        check_kernel(self.kernel, system, time)
        return self.kernel.values[..., :time]


@final
@dataclass(frozen=True)
class Scan(AbstractExecution):
    """All states at once by joining steps."""

    def run(self, system: Running, u: Tensor, x0: Tensor | None, want_state: bool) -> Outcome:
        """The recurrence of `sciml.ssm.kernels` for diagonal systems, by halving for dense ones."""
        x0 = _zero(system, u) if x0 is None else x0
        fused = fused_scan(system, u, x0)
        if fused is not None:
            return fused
        transition = system.transition
        x = transition.scan(transition.force(system.ports.b, u), x0)
        return Outcome(system.ports.read(x), x[:, -1])


@final
@dataclass(frozen=True)
class Recurrent(AbstractExecution):
    """One step after the other, as streaming does."""

    def run(self, system: Running, u: Tensor, x0: Tensor | None, want_state: bool) -> Outcome:
        """A loop over times; without gradients the states of few of them are in memory at once."""
        x, time = _zero(system, u) if x0 is None else x0, u.shape[1]
        if torch.is_grad_enabled() or time <= PIECE:
            return _one_after_the_other(system, u, x)

        def run(start: int, stop: int, x: Tensor | None) -> Outcome:
            assert x is not None
            return _one_after_the_other(system.piece(start, stop), u[:, start:stop], x)

        return _in_pieces(run, time, PIECE, x)


@final
@dataclass(frozen=True)
class Chunked(AbstractExecution):
    """Pieces of the series one after the other, with the state carried from each to the next.

    Args:
        within: how each piece runs.
        size: times per piece.

    Raises:
        ValueError: unless size is a whole number of at least 1.
    """

    within: AbstractExecution
    size: int

    def __post_init__(self) -> None:
        check_whole("size", self.size, 1)

    def run(self, system: Running, u: Tensor, x0: Tensor | None, want_state: bool) -> Outcome:
        """The same execution on every piece."""
        time = u.shape[1]

        def run(start: int, stop: int, x: Tensor | None) -> Outcome:
            return self.within.run(system.narrow(start, stop), u[:, start:stop], x, want_state or stop < time)

        return _in_pieces(run, time, self.size, x0)


def _in_pieces(run: Callable[[int, int, Tensor | None], Outcome], time: int, size: int, x: Tensor | None) -> Outcome:
    """Pieces one after the other. Without gradients outputs go where they stay: kept apart, they break up the memory
    that each piece leaves behind, and it is never used again."""
    outputs, y = [], None
    for start in range(0, time, size):
        stop = min(start + size, time)
        outcome = run(start, stop, x)
        x = outcome.state
        if torch.is_grad_enabled():
            outputs.append(outcome.y)
            continue
        y = outcome.y.new_empty(len(outcome.y), time, *outcome.y.shape[2:]) if y is None else y
        y[:, start:stop] = outcome.y
    return Outcome(torch.cat(outputs, dim=1) if y is None else y, x)


def _one_after_the_other(system: Running, u: Tensor, x: Tensor) -> Outcome:
    transition, states = system.transition, []
    for k, forcing in enumerate(transition.force(system.ports.b, u).unbind(1)):
        x = transition.advance(k, x, forcing)
        states.append(x)
    return Outcome(system.ports.read(torch.stack(states, dim=1)), x)


def check_kernel(kernel: Any, system: Running, time: int) -> None:
    """Raise unless a kernel made before is one of this system, at this interval, and covers the series."""
    if not isinstance(kernel, Kernel):
        raise TypeError(
            f"`kernel` of `Convolution` must be a Kernel, got {type(kernel).__name__}. Take layer.kernel(length, dt), "
            "which knows its interval."
        )
    values, interval = kernel.values, system.steps.interval
    wanted = (*system.ports.b.shape[:1], system.ports.c.shape[-2], system.ports.b.shape[-1])
    if values.shape[:-1] != wanted:
        raise ValueError(
            f"the kernel given to `Convolution` must have shape {wanted} and lags, got {tuple(values.shape)}. "
            "Take that of the same layer, layer.kernel(length)."
        )
    if (values.dtype, values.device) != (interval.dtype, interval.device):
        raise TypeError(
            f"the kernel given to `Convolution` must be of {interval.dtype} on {interval.device}, got {values.dtype} "
            f"on {values.device}. Make it anew from the layer where it is now, layer.kernel(length)."
        )
    dt = float(interval.detach()) if system.steps.number is None else system.steps.number
    if not math.isclose(dt, kernel.dt, rel_tol=1e-6):
        raise ValueError(
            f"the kernel given to `Convolution` is one of interval {kernel.dt:g}, and the series has {dt:g}. Make it "
            f"for this one, layer.kernel(length, dt={dt:g})."
        )
    if values.shape[-1] < time:
        raise ValueError(
            f"the kernel given to `Convolution` has {values.shape[-1]} lags, and the series has {time} times. "
            "Make a longer one, kernel(length), or run Chunked(Convolution(kernel), size) with pieces it covers."
        )


def _zero(system: Running, u: Tensor) -> Tensor:
    dtype = torch.promote_types(u.dtype, torch.complex64) if system.matrix.is_complex else u.dtype
    return torch.zeros(len(u), u.shape[2], system.matrix.state, dtype=dtype, device=u.device)
