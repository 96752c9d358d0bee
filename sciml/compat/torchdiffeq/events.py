"""`odeint_event`: how the time of an event depends on everything before it.

With c(t, y; theta) = 0 at the event, its time moves with the state y that was reached at a fixed time t by

    dt = -(c_y dy + c_theta dtheta) / (c_t + c_y f)

and the state by dy + f dt. torchdiffeq leaves the parameters theta of the event without gradient.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sciml.compat.torchdiffeq.inputs import combined, join, on_joined, split
from sciml.compat.torchdiffeq.odeint import State, odeint
from sciml.compat.torchdiffeq.times import as_time


def odeint_event(
    func: Callable[[Tensor, Any], Any],
    y0: State,
    t0: Tensor,
    *,
    event_fn: Callable[[Tensor, Any], Tensor],
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """Integrate until an event, with the gradient of its time and state; see the module.

    Args:
        func, y0: see `odeint`.
        t0: when to start, a tensor of one entry.
        event_fn: the first sign change of one of its entries ends the integration. What it depends on gets gradients.
        reverse_time: whether to go backwards.
        odeint_interface: `odeint` or `odeint_adjoint`, perhaps with arguments filled in.
        kwargs: what that takes.

    Returns:
        Time of the event, and the states at start and event, (2, *state).

    Raises:
        AssertionError, RuntimeError: if no event comes; see `odeint`.
    """
    start = t0.reshape(-1)
    t = torch.cat([start, start.detach() + (-1.0 if reverse_time else 1.0)])
    time, states = odeint_interface(func, y0, t, event_fn=event_fn, **kwargs)
    if isinstance(states, Tensor):
        time, y1 = _moved(func, combined(event_fn, t[0], y0), time, states[-1])
        return time, torch.cat([states[:-1], y1[None]])
    shapes = [part.shape[1:] for part in states]
    event = combined(event_fn, t[0], y0)
    time, y1 = _moved(
        on_joined(func, shapes),
        lambda t, y: event(t, split(y, shapes)),
        time,
        join(tuple(part[-1] for part in states)),
    )
    ends = split(y1, shapes)
    return time, tuple(torch.cat([part[:-1], end[None]]) for part, end in zip(states, ends, strict=True))


def _moved(func: Any, event: Callable[[Tensor, Tensor], Tensor], time: Tensor, y1: Tensor) -> tuple[Tensor, Tensor]:
    """Time and state of the event, that move as everything before it does."""
    time = time.detach()
    with torch.no_grad():
        slope = func(as_time(time, y1), y1)
    moving, state = time.clone().requires_grad_(), y1.detach().requires_grad_()
    with torch.enable_grad():
        there = event(moving, state)
        found = torch.autograd.grad(there, (moving, state), allow_unused=True) if there.requires_grad else (None, None)
    c_t, c_y = (
        torch.zeros_like(x) if gradient is None else gradient for gradient, x in zip(found, (time, y1), strict=True)
    )
    value = event(time, y1)
    speed = c_t + (c_y.conj() * slope).real.sum()
    shift = -(value - value.detach()) / (speed + 1e-12)
    return time + shift.to(time), y1 + slope * shift
