"""`odeint_adjoint`: gradients by solving the adjoint equation backwards in time, with constant memory:

    da/dt = -a df/dy,    dL/dtheta = int a df/dtheta dt,    dL/dt_i = (dL/dy(t_i)) f(t_i, y(t_i))

The state is solved backwards beside it and set right at every output. What is integrated backwards is the tuple
(gradient of t, y, a, gradients of parameters), which is what norms and callbacks of the backward solve see.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sciml.compat.torchdiffeq.inputs import CALLBACKS, Call, Norm, make_call, mixed_norm, split
from sciml.compat.torchdiffeq.odeint import State, run


def odeint_adjoint(
    func: Callable[[Tensor, Any], Any],
    y0: State,
    t: Any,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
    event_fn: Callable[[Tensor, Any], Tensor] | None = None,
    adjoint_rtol: Any = None,
    adjoint_atol: Any = None,
    adjoint_method: str | None = None,
    adjoint_options: dict[str, Any] | None = None,
    adjoint_params: Iterable[Tensor] | None = None,
) -> Any:
    """As `odeint`, differentiated by the adjoint equation.

    Args:
        func, y0, t, rtol, atol, method, options, event_fn: see `odeint`. `func` may also have
            `callback_step_adjoint(t0, y0, dt)`, and likewise for accepted and rejected steps.
        adjoint_rtol, adjoint_atol, adjoint_method: of the backward solve; by default those of the forward one.
        adjoint_options: of the backward solve; by default the forward ones but the norm. `norm` is a norm of the tuple
            (t, y, a, *parameters), with the parts of a tuple state in place of `y` and `a`; "seminorm" leaves the
            parameters out.
        adjoint_params: what gets gradients beside `y0` and `t`; by default the parameters of the module `func`.

    Raises:
        ValueError: if the parameters or the options of the backward solve cannot be known.
    """
    if adjoint_params is None and not isinstance(func, nn.Module):
        raise ValueError(
            "`adjoint_params` must be given unless `func` is a module, whose parameters are taken. "
            "Pass the tensors `func` depends on, or () if there are none."
        )
    if adjoint_method not in (None, method) and options is not None and adjoint_options is None:
        raise ValueError(
            f'`adjoint_options` must be given where options are and adjoint_method="{adjoint_method}" differs from '
            f'method="{method}". Pass adjoint_options=dict(...).'
        )
    if adjoint_options is None:
        adjoint_options = {name: value for name, value in (options or {}).items() if name != "norm"}
    given = tuple(func.parameters() if adjoint_params is None else adjoint_params)  # type: ignore[union-attr]
    params = tuple(parameter for parameter in given if parameter.requires_grad)
    if len(params) < len(given) and callable(adjoint_options.get("norm")):
        warnings.warn("parameters that need no gradient are left out of what the adjoint norm sees.", stacklevel=2)
    call = make_call(func, y0, t, rtol, atol, method, options, event_fn)
    backward = _Backward(
        rtol if adjoint_rtol is None else adjoint_rtol,
        atol if adjoint_atol is None else adjoint_atol,
        adjoint_method or method,
        {**adjoint_options, "norm": _adjoint_norm(adjoint_options.get("norm"), call)},
        {name: getattr(func, f"{name}_adjoint") for name in CALLBACKS if hasattr(func, f"{name}_adjoint")},
    )
    result = _Adjoint.apply(call, backward, call.y0, call.t, *params)
    if event_fn is None:
        return result if call.shapes is None else split(result, call.shapes)  # type: ignore[arg-type]
    time, states = result  # type: ignore[misc]
    return time.to(t), states if call.shapes is None else split(states, call.shapes)


@final
@dataclass(frozen=True, eq=False)
class _Backward:
    """How to solve backwards."""

    rtol: Any
    atol: Any
    method: str | None
    options: dict[str, Any]
    callbacks: dict[str, Callable[..., Any]]


def _adjoint_norm(given: Norm | str | None, call: Call) -> Norm:
    """A norm of (t, y, a, *parameters), `y` and `a` joined."""
    if given is None or given == "seminorm":
        counted = given is None

        def default(parts: tuple[Tensor, ...]) -> Any:
            t, y, a, *params = parts
            return max(t.abs(), call.norm(y), call.norm(a), mixed_norm(tuple(params)) if counted else 0.0)

        return default
    if not callable(given):
        raise TypeError(f'`norm` of the adjoint must be a function or "seminorm", got {given!r}. Pass one of these.')
    shapes = call.shapes
    if shapes is None:
        return given
    return lambda parts: given((parts[0], *split(parts[1], shapes), *split(parts[2], shapes), *parts[3:]))


class _Adjoint(torch.autograd.Function):
    """(call, backward, y0, t, *params) -> states, or event time and states."""

    @staticmethod
    def forward(ctx: Any, call: Call, backward: _Backward, y0: Tensor, t: Tensor, *params: Tensor) -> Any:
        # Without gradients: a view of a tensor that requires one says so too, even where nothing is recorded.
        call = replace(call, y0=call.y0.detach(), t=call.t.detach())
        with torch.no_grad():
            result = run(call)
        ctx.call, ctx.how, ctx.adjoint_options = call, backward, backward.options
        time, states = (None, result) if call.event is None else result
        times = t.detach() if time is None else torch.stack([t[0].detach(), time.to(t)])
        ctx.save_for_backward(times, states, *params)
        ctx.has_event = call.event is not None
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        times, states, *params = ctx.saved_tensors
        gradient, how = grads[-1], ctx.how
        timed = ctx.needs_input_grad[3]
        field = _Augmented(ctx.call, tuple(params), timed)
        for name, callback in how.callbacks.items():
            setattr(field, name, callback)
        by_time = torch.zeros(len(times), dtype=states.real.dtype, device=states.device)
        a_t = torch.zeros((), dtype=states.dtype, device=states.device)
        a, of_params = gradient[-1], tuple(torch.zeros_like(parameter) for parameter in params)
        for i in range(len(times) - 1, 0, -1):
            if timed:
                slope = ctx.call.func(times[i].to(states.real.dtype), states[i])
                by_time[i] = (slope.conj() * gradient[i]).real.sum()
                a_t = a_t - by_time[i]
            back = make_call(
                field,
                (a_t, states[i], a, *of_params),
                times[i - 1 : i + 1].flip(0),
                how.rtol,
                how.atol,
                how.method,
                ctx.adjoint_options,
                None,
            )
            ends = split(run(replace(back, coupled=1 + 2 * states[i].numel())), back.shapes)  # type: ignore[arg-type]
            a_t, _, a, *of_params = (part[1] for part in ends)
            a = a + gradient[i - 1]
        by_time[0] = a_t.real
        if ctx.has_event:
            by_time[1] = 0.0
        of_params = (_as(value, parameter) for value, parameter in zip(of_params, params, strict=True))
        return None, None, a, by_time.to(times.dtype) if timed else None, *of_params


def _as(value: Tensor, like: Tensor) -> Tensor:
    return (value if like.is_complex() else value.real).to(like.dtype)


@final
@dataclass(eq=False)
class _Augmented:
    """The field of (gradient of t, y, a, *gradients of parameters)."""

    call: Call
    params: tuple[Tensor, ...]
    timed: bool

    def __call__(self, t: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        recording = torch.is_grad_enabled() and parts[1].requires_grad  # for the Jacobian of an implicit method
        y, a = parts[1] if recording else parts[1].detach().requires_grad_(), parts[2]
        t = t.detach().requires_grad_(self.timed)
        with torch.enable_grad():
            slope = self.call.func(t, y)
        inputs = (*((t,) if self.timed else ()), y, *(() if recording else self.params))
        if slope.requires_grad:
            found = torch.autograd.grad(slope, inputs, -a, allow_unused=True, create_graph=recording)
        else:
            found = (None,) * len(inputs)
        whole = [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]
        of_t = whole.pop(0) if self.timed else torch.zeros_like(parts[0])
        if recording:
            return (of_t, slope, *whole, *map(torch.zeros_like, self.params))
        return (of_t, slope.detach(), *whole)
