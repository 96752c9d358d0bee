"""`odeint` and its dense output."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sciml.compat.torchdiffeq import adaptive, external, fixed
from sciml.compat.torchdiffeq.inputs import Call, make_call, split
from sciml.compat.torchdiffeq.methods import ADAPTIVE, EXTERNAL

State = Any
"""A tensor, or a tuple of tensors."""


def odeint(
    func: Callable[[Tensor, Any], Any],
    y0: State,
    t: Any,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
    event_fn: Callable[[Tensor, Any], Tensor] | None = None,
) -> Any:
    """Integrate one system dy/dt = func(t, y), y(t[0]) = y0, of any shape.

    Args:
        func: the field; `t` is 0-D. May have `callback_step(t0, y0, dt)`, and for adaptive methods
            `callback_accept_step` and `callback_reject_step`.
        y0: initial state, a tensor or a tuple of tensors.
        t: times, rising or falling, [time]; the first is that of `y0`.
        rtol, atol: tolerances: numbers, tensors that broadcast to the state, or one per part of a tuple.
        method: "dopri5" by default.
        options: of the method.
        event_fn: integrate until one of its entries becomes zero; only t[0] and the direction count then. Where that
            does not happen within `max_num_steps` attempts, 50_000 if the option is not given, or for steps of given
            size within 20_000, the search is given up.

    Returns:
        States at all times, (time, *state), of the structure of `y0`; with `event_fn` the time of the event, and the
        states at start and event.

    Raises:
        AssertionError, TypeError, ValueError: for arguments that cannot work, and AssertionError if a step fails or no
            event comes, as torchdiffeq does.
        RuntimeError: if no event comes within the most steps of given size, as torchdiffeq does.
    """
    call = make_call(func, y0, t, rtol, atol, method, options, event_fn)
    result = run(call)
    if event_fn is None:
        return result if call.shapes is None else split(result, call.shapes)
    time, states = result
    return time.to(t), states if call.shapes is None else split(states, call.shapes)


def run(call: Call) -> Any:
    """States of the joined system at all times; with an event its time, and the states at start and event."""
    kind = adaptive if call.method in ADAPTIVE else external if call.method == EXTERNAL else fixed
    return kind.integrate(call) if call.event is None else kind.integrate_until_event(call)


def odeint_dense(
    func: Callable[[Tensor, Tensor], Tensor],
    y0: Any,
    t0: Any,
    t1: Any,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
) -> Callable[[Any], Tensor]:
    """The solution from `t0` to `t1` as a function of time; see `odeint`. Any adaptive method will do.

    Returns:
        A function of a 0-D time for the state, or of times (time,) for (time, *state).
    """
    if not isinstance(y0, Tensor):
        raise AssertionError(f"`y0` must be a tensor, got {type(y0).__name__}. Join the parts of a tuple.")
    t = torch.stack([torch.as_tensor(x, dtype=torch.as_tensor(t0).dtype) for x in (t0, t1)])
    call = make_call(func, y0, t, rtol, atol, method, options, None)
    if call.method not in ADAPTIVE:
        raise AssertionError(
            f'dense output needs an adaptive method, got "{call.method}". Choose from {list(ADAPTIVE)}.'
        )
    solution = adaptive.dense(call)
    shape = call.y0.shape
    return lambda time: solution(time)[0].reshape(*torch.as_tensor(time).shape, *shape)
