"""The initial state as a state that was kept at t0: dy/dt = f(t0, y0) there, though no step was taken."""

from typing import Any

import torch
from torch import Tensor

from sciml.core.transforms import is_differentiated, is_recording
from sciml.integrate.clock import Clock
from sciml.integrate.flat import Flat, first_leaf, map_leaves, real_dtype
from sciml.integrate.terms import ODE, SemiLinear, Split


def initial_states(term: Any, clock: Clock, tau: Tensor, tau0: Tensor, y0: Flat) -> Flat:
    """y0 at every one of the times, (batch, time, *state), differentiable in times: y(t) = y0 + (t - t0) f(t0, y0).

    Args:
        term: the right-hand side.
        clock: of the solve.
        tau: the times, (time,) or (clock, time), of which those after t0 mean nothing.
        tau0: where the solve starts, per clock.
        y0: initial state.
    """
    rows, count = clock.rows, tau.shape[-1]
    states = map_leaves(lambda y: y.unsqueeze(1).expand(-1, count, *y.shape[1:]), y0)
    moving = is_recording() and (is_differentiated(tau) or is_differentiated(tau0))
    if not moving or not count or not isinstance(term, ODE | Split | SemiLinear):
        return states
    t0 = clock.time(tau0.detach(), y0).to(first_leaf(y0).device)
    slope = _slope(term, t0.to(real_dtype(y0)), y0)
    t = clock.turned_rows(tau if tau.ndim == 1 else clock.to_rows(tau))
    start = clock.turned_rows(clock.to_rows(tau0))
    passed = t - (start[:, None] if start.ndim else start)
    passed = (passed - passed.detach()).expand(rows, count)  # 0, but its derivative is 1

    def moved(state: Tensor, f: Tensor) -> Tensor:
        finite = torch.where(torch.isfinite(f), f, 0.0)  # else 0 times infinity would spoil a state that is known
        weight = passed.reshape(rows, count, *[1] * (f.ndim - 1)).to(f.device, f.dtype)
        return state + weight * finite.unsqueeze(1)

    return map_leaves(moved, states, slope)


def _slope(term: ODE | Split | SemiLinear, t: Tensor, y: Any) -> Any:
    """f(t, y)."""
    return term.linear * y + term.nonlinear(t, y) if isinstance(term, SemiLinear) else term.f(t, y)
